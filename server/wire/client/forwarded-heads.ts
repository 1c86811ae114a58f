import type { HeaderField } from "../http2/hpack/header-field.ts";
import { HeaderTemplate, type OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { RequestHead, ResponseHead } from "../http2/message-head.ts";
import type { ForwardChannel } from "./forward-channel.ts";

/** Fields to send, or a template if the same are sent again and again. */
export type OutgoingHead = HeaderTemplate | readonly OutgoingField[];

/** Head of a request as it goes on to a channel: all as it came, but for the scheme. */
export function forwardedRequestFields(head: RequestHead, scheme: string): OutgoingField[] {
  const fields: OutgoingField[] = [
    [":method", head.method],
    [":scheme", scheme],
    [":path", head.path],
  ];
  if (head.authority !== undefined) fields.push([":authority", head.authority]);
  for (const { name, value } of head.fields) fields.push([name, value]);
  return fields;
}

/** Head of a response as it goes back. */
export function forwardedResponseFields(head: ResponseHead): OutgoingField[] {
  return [[":status", `${head.status}`], ...forwardedFields(head.fields)];
}

export function forwardedFields(fields: readonly HeaderField[]): OutgoingField[] {
  return fields.map(({ name, value }) => [name, value]);
}

/** What a request head is sent as: the decoder gives the same head for the same bytes. */
interface KnownRequest {
  readonly channel: ForwardChannel;
  template: HeaderTemplate | undefined;
}

/** Fields of a head that comes for the first time, a template from then on. */
export function outgoingRequest(head: RequestHead, channel: ForwardChannel): OutgoingHead {
  const known = head.forwarded as KnownRequest | undefined;
  if (known?.channel === channel) {
    known.template ??= new HeaderTemplate(forwardedRequestFields(head, channel.scheme));
    return known.template;
  }
  head.forwarded = { channel, template: undefined } satisfies KnownRequest;
  return forwardedRequestFields(head, channel.scheme);
}

/** Heads or trailers that are remembered; the connections of one channel give fewer at a time. */
const remembered = 16;

/** Knows heads or trailers of answers again, by identity. */
class KnownBlocks<Key extends object> {
  readonly #toFields: (key: Key) => OutgoingField[];
  readonly #keys: (Key | undefined)[] = new Array(remembered).fill(undefined);
  readonly #templates: (HeaderTemplate | undefined)[] = new Array(remembered).fill(undefined);
  #next = 0;

  constructor(toFields: (key: Key) => OutgoingField[]) {
    this.#toFields = toFields;
  }

  /** Fields of what comes for the first time, a template from then on. */
  outgoing(key: Key): OutgoingHead {
    const index = this.#keys.indexOf(key);
    if (index === -1) {
      this.#keys[this.#next] = key;
      this.#templates[this.#next] = undefined;
      this.#next = (this.#next + 1) % remembered;
      return this.#toFields(key);
    }
    let template = this.#templates[index];
    if (!template) {
      template = new HeaderTemplate(this.#toFields(key));
      this.#templates[index] = template;
    }
    return template;
  }
}

/** What the answers of a channel begin and end with. */
export class KnownAnswers {
  readonly heads = new KnownBlocks<ResponseHead>(forwardedResponseFields);
  readonly trailers = new KnownBlocks<readonly HeaderField[]>(forwardedFields);
}
