import type { UniversalServerResponse } from "@connectrpc/connect/protocol";

const encoder = new TextEncoder();

/** A response with a JSON text as body. */
export function jsonResponse(
  status: number,
  json: string,
  header?: HeadersInit,
): UniversalServerResponse {
  const body = encoder.encode(json);
  const headers = new Headers(header);
  headers.set("content-type", "application/json");
  headers.set("content-length", String(body.byteLength));
  return { status, header: headers, body: chunks(body) };
}

/** A body of the given parts. */
export async function* chunks(...parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  for (const part of parts) if (part.byteLength > 0) yield part;
}
