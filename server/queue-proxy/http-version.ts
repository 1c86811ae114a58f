import { Http1RequestHead } from "../wire/http1/read-head.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";

/** `network.protocol.version` as Knative's queue-proxy writes it, where the conventions have `2`. */
export function httpVersionOf(head: RequestHead): string {
  if (!(head instanceof Http1RequestHead)) return "2.0";
  return head.minor === 0 ? "1.0" : "1.1";
}
