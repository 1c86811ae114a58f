import type { ForwardChannel } from "../wire/client/forward-channel.ts";
import type { OutgoingHead } from "../wire/client/forwarded-heads.ts";
import { HeaderTemplate, type OutgoingField } from "../wire/http2/hpack/hpack-encoder.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";
import { forwardedHeader } from "./forwarded-header.ts";

/** What Knative's own components tell each other, and no server is told. */
const prunedFields = new Set([
  "k-original-host",
  "knative-serving-namespace",
  "knative-serving-revision",
]);

/** A head that was rewritten, kept beside it: the decoder gives the same head for the same bytes. */
interface KnownHead {
  readonly channel: ForwardChannel;
  readonly address: string;
  template: HeaderTemplate | undefined;
}

/**
 * Head of a request as the user's container gets it: fields for one that comes for the first time, a
 * template from then on.
 *
 * @param address - of the caller
 */
export function outgoingRequestHead(
  head: RequestHead,
  channel: ForwardChannel,
  address: string,
): OutgoingHead {
  const known = head.forwarded as KnownHead | undefined;
  if (known !== undefined && known.channel === channel && known.address === address) {
    known.template ??= new HeaderTemplate(rewriteHead(head, channel.scheme, address));
    return known.template;
  }
  head.forwarded = { channel, address, template: undefined } satisfies KnownHead;
  return rewriteHead(head, channel.scheme, address);
}

/** Takes out what is Knative's own, restores the host, and says for whom the request is forwarded. */
export function rewriteHead(head: RequestHead, scheme: string, address: string): OutgoingField[] {
  const host = head.get("k-original-host") ?? head.authority;
  const fields: OutgoingField[] = [
    [":method", head.method],
    [":scheme", scheme],
    [":path", head.path],
  ];
  if (host !== undefined) fields.push([":authority", host]);
  let forwardedFor: string | undefined;
  let hasForwarded = false;
  for (const { name, value } of head.fields) {
    if (prunedFields.has(name) || name === "host") continue;
    if (name === "x-forwarded-for") {
      forwardedFor = forwardedFor === undefined ? value : `${forwardedFor}, ${value}`;
      continue;
    }
    if (name === "forwarded") hasForwarded = true;
    fields.push([name, value]);
  }
  if (!hasForwarded) {
    const forwarded = forwardedHeader(
      forwardedFor,
      head.get("x-forwarded-proto"),
      head.get("x-forwarded-host"),
    );
    if (forwarded !== undefined) fields.push(["forwarded", forwarded]);
  }
  const caller = plainAddress(address);
  fields.push([
    "x-forwarded-for",
    forwardedFor === undefined ? caller : `${forwardedFor}, ${caller}`,
  ]);
  return fields;
}

/** An IPv4 address in its IPv6 form, as it is. */
export function plainAddress(address: string): string {
  return address.startsWith("::ffff:") ? address.slice("::ffff:".length) : address;
}
