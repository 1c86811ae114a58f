/** Host and port of an authority; an IPv6 address loses its brackets, and what is not given is empty. */
export function authorityParts(authority: string): {
  readonly address: string;
  readonly port: string;
} {
  const [, bracketed, plain, port] =
    /^(?:\[([^\]]*)\]|([^:]*))(?::(\d{1,5}))?$/.exec(authority) ?? [];
  return { address: bracketed ?? plain ?? "", port: port ?? "" };
}
