const nameOfField = "grpc-message";
const encoder = new TextEncoder();

/**
 * Percent-encodes a status message as gRPC says: bytes outside of `%x20-%x24 / %x26-%x7E` only
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses).
 */
export function encodeGrpcMessage(message: string): string {
  if (/^[\x20-\x24\x26-\x7e]*$/.test(message)) return message;
  let encoded = "";
  for (const byte of encoder.encode(message)) {
    const plain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += plain
      ? String.fromCharCode(byte)
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

/**
 * Encodes the message of a status anew. Connect escapes all that encodeURIComponent does, and clients
 * that decode with decodeURI, @grpc/grpc-js among them, would show `%3A` in place of a colon.
 */
export function reencodeGrpcMessage(status: Headers): void {
  const given = status.get(nameOfField);
  if (given !== null) status.set(nameOfField, encodeGrpcMessage(decodeURIComponent(given)));
}
