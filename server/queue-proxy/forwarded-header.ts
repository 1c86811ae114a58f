/** Names that may stand in X-Forwarded-For without quotes (RFC 7239, section 6). */
const plainNode = /^[A-Za-z0-9!#$%&'*+\-.^_`|~]+$/;

/**
 * Makes a Forwarded header (RFC 7239) of the older headers, as Knative does for servers that know only
 * the new one.
 *
 * @param forwardedFor - values of X-Forwarded-For, in order
 * @returns `undefined` if there is nothing to tell
 */
export function forwardedHeader(
  forwardedFor: string | undefined,
  proto: string | undefined,
  host: string | undefined,
): string | undefined {
  const nodes = (forwardedFor ?? "")
    .split(",")
    .map((node) => node.trim())
    .filter((node) => node !== "");
  const hosts = host === undefined || host === "" ? "" : `host=${host}`;
  const protos = proto === undefined || proto === "" ? "" : `proto=${proto}`;
  // Host and protocol are those of the first hop only.
  const [first, ...others] = nodes;
  const parts = [first === undefined ? "" : `for=${nodeName(first)}`, hosts, protos];
  const elements = [
    parts.filter((part) => part !== "").join(";"),
    ...others.map((node) => `for=${nodeName(node)}`),
  ].filter((element) => element !== "");
  return elements.length === 0 ? undefined : elements.join(", ");
}

function nodeName(node: string): string {
  // An IPv6 address stands in brackets and quotes.
  if (node.includes(":") && !node.startsWith("[")) return `"[${node}]"`;
  return plainNode.test(node) ? node : `"${node}"`;
}
