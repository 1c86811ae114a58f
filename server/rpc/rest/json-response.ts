import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

const encoder = new TextEncoder();

const end: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** A body that is at hand, in parts. */
export class BodyParts implements AsyncIterable<Uint8Array> {
  readonly parts: readonly Uint8Array[];

  constructor(parts: readonly Uint8Array[]) {
    this.parts = parts;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    const { parts } = this;
    let index = 0;
    return {
      async next() {
        // A part without a byte would be a chunk that ends an HTTP/1.1 body.
        while (parts[index]?.byteLength === 0) index++;
        const value = parts[index++];
        return value ? { done: false, value } : end;
      },
      async return() {
        index = parts.length;
        return end;
      },
    };
  }
}

/** Bytes in all parts. */
export function byteLengthOf(parts: readonly Uint8Array[]): number {
  let total = 0;
  for (const part of parts) total += part.byteLength;
  return total;
}

/** A response with a JSON text as body. */
export function jsonResponse(
  status: number,
  json: string,
  header?: HeadersInit,
): UniversalServerResponse {
  return jsonBytesResponse(status, [encoder.encode(json)], header);
}

/** A response with a JSON text in UTF-8 as body. */
export function jsonBytesResponse(
  status: number,
  json: readonly Uint8Array[],
  header?: HeadersInit,
): UniversalServerResponse {
  const headers = new Headers(header);
  headers.set("content-type", "application/json");
  headers.set("content-length", String(byteLengthOf(json)));
  return { status, header: headers, body: new BodyParts(json) };
}

/** A body of the given parts. */
export function chunks(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  return new BodyParts(parts);
}
