import { triggerInvalid } from "../../errors/autoscaling-errors.ts";

/** Where the processes are that are asked for metrics. */
export type EndpointsSpec =
  /** Those that the command was started with. */
  | { readonly kind: "default" }
  | { readonly kind: "list"; readonly addresses: readonly Address[] }
  /** Every address that a name has, as of a headless Service. */
  | { readonly kind: "dns"; readonly address: Address }
  /** The ready addresses of a Service's EndpointSlices, asked of the API server. */
  | {
      readonly kind: "service";
      readonly namespace: string;
      readonly service: string;
      readonly port: number;
    };

/** A host and a port. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

const maxAddresses = 100;
const expected = "host:port parted by commas, dns://host:port, or service://namespace/name:port";

/**
 * Reads where to ask.
 *
 * @throws TensorwireError `TRIGGER_INVALID`
 */
export function parseEndpoints(text: string | undefined): EndpointsSpec {
  if (text === undefined || text.trim() === "") return { kind: "default" };
  const service = /^service:\/\/([a-z0-9-]{1,63})\/([a-z0-9-]{1,63}):(\d{1,5})$/.exec(text.trim());
  if (service) {
    const [, namespace = "", name = "", port = ""] = service;
    return { kind: "service", namespace, service: name, port: readPort(port, text) };
  }
  if (text.startsWith("dns://")) {
    return { kind: "dns", address: readAddress(text.slice("dns://".length), text) };
  }
  const addresses = text.split(",").map((part) => readAddress(part.trim(), text));
  if (addresses.length > maxAddresses) {
    throw triggerInvalid("endpoints", `${addresses.length} addresses`, `at most ${maxAddresses}`);
  }
  return { kind: "list", addresses };
}

function readAddress(text: string, whole: string): Address {
  const found = /^(\[[0-9a-fA-F:.]+\]|[a-zA-Z0-9._-]+):(\d{1,5})$/.exec(text);
  if (!found) throw triggerInvalid("endpoints", whole, expected);
  return { host: found[1]!, port: readPort(found[2]!, whole) };
}

function readPort(text: string, whole: string): number {
  const port = Number(text);
  if (port < 1 || port > 65_535) throw triggerInvalid("endpoints", whole, expected);
  return port;
}

/** Whether a trigger may have a host asked: one of the names, or one below a `*.suffix`. */
export function isAllowedHost(host: string, patterns: readonly string[]): boolean {
  const name = host.toLowerCase();
  return patterns.some((pattern) => {
    if (pattern === "*") return true;
    const wanted = pattern.toLowerCase();
    return wanted.startsWith("*.") ? name.endsWith(wanted.slice(1)) : name === wanted;
  });
}
