import { Code, ConnectError } from "@connectrpc/connect";
import type { Compression } from "@connectrpc/connect/protocol";

// Snappy for the suite alone, whose other side is golang/snappy. In a message of gRPC it stands in frames
// (https://github.com/google/snappy/blob/main/framing_format.txt) around blocks
// (https://github.com/google/snappy/blob/main/format_description.txt). Node has no snappy, and a package
// of native code for each platform is much for two formats of a page each.

const streamIdentifier = Buffer.from("ff060000734e61507059", "hex");
const maxFrameBytes = 65536;

/** Snappy in frames. */
export const compressionSnappy: Compression = {
  name: "snappy",
  async compress(bytes) {
    const frames: Buffer[] = [streamIdentifier];
    for (let at = 0; at < bytes.byteLength; at += maxFrameBytes) {
      const part = bytes.subarray(at, at + maxFrameBytes);
      const block = encodeBlock(part);
      const head = Buffer.alloc(8);
      head.writeUIntLE(block.byteLength + 4, 1, 3);
      head.writeUInt32LE(maskedCrc32c(part), 4);
      frames.push(head, block);
    }
    return new Uint8Array(Buffer.concat(frames));
  },
  async decompress(bytes, readMaxBytes) {
    const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const parts: Buffer[] = [];
    let length = 0;
    for (let at = 0; at < source.length; ) {
      const end = at + 4 + source.readUIntLE(at + 1, 3);
      const part = decodeFrame(source[at]!, source.subarray(at + 4, end));
      at = end;
      length += part.length;
      if (length > readMaxBytes)
        throw new ConnectError("message is too large", Code.ResourceExhausted);
      parts.push(part);
    }
    return new Uint8Array(Buffer.concat(parts));
  },
};

function decodeFrame(kind: number, content: Buffer): Buffer {
  if (kind === 0xff || kind >= 0x80) return Buffer.alloc(0);
  if (kind > 1) throw new ConnectError(`frame of kind ${kind}`, Code.InvalidArgument);
  const part = kind === 0 ? decodeBlock(content.subarray(4)) : content.subarray(4);
  if (maskedCrc32c(part) !== content.readUInt32LE(0))
    throw new ConnectError("wrong checksum of a frame", Code.InvalidArgument);
  return part;
}

/** Literals and copies with an offset of 16 bits; what begins anew is found by its first four bytes. */
function encodeBlock(bytes: Uint8Array): Buffer {
  const source = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const out: number[] = [];
  for (let rest = source.length; ; rest >>>= 7) {
    out.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
    if (rest <= 0x7f) break;
  }
  const seen = new Map<number, number>();
  let literalFrom = 0;
  const literal = (end: number): void => {
    for (let at = literalFrom; at < end; at += 60) {
      const part = source.subarray(at, Math.min(end, at + 60));
      out.push((part.length - 1) << 2, ...part);
    }
  };
  for (let at = 0; at + 4 <= source.length; ) {
    const key = source.readUInt32LE(at);
    const from = seen.get(key);
    seen.set(key, at);
    if (from === undefined || at - from > 0xffff) {
      at++;
      continue;
    }
    let length = 4;
    while (length < 64 && source[at + length] === source[from + length]) {
      if (at + length >= source.length) break;
      length++;
    }
    literal(at);
    const offset = at - from;
    out.push(((length - 1) << 2) | 2, offset & 0xff, offset >>> 8);
    at += length;
    literalFrom = at;
  }
  literal(source.length);
  return Buffer.from(out);
}

function decodeBlock(block: Buffer): Buffer {
  let at = 0;
  let size = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = block[at++]!;
    size |= (byte & 0x7f) << shift;
    if (byte < 0x80) break;
  }
  if (size > maxFrameBytes) throw new ConnectError("block is too large", Code.InvalidArgument);
  const out = Buffer.alloc(size);
  let written = 0;
  while (at < block.length) {
    const tag = block[at++]!;
    if ((tag & 3) === 0) {
      let length = (tag >>> 2) + 1;
      if (length > 60) {
        const bytes = length - 60;
        length = block.readUIntLE(at, bytes) + 1;
        at += bytes;
      }
      written += block.copy(out, written, at, at + length);
      at += length;
      continue;
    }
    const short = (tag & 3) === 1;
    const length = short ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
    const bytes = short ? 1 : (tag & 3) === 2 ? 2 : 4;
    const offset = block.readUIntLE(at, bytes) + (short ? (tag >>> 5) << 8 : 0);
    at += bytes;
    // A copy may reach into what it writes itself.
    for (let index = 0; index < length; index++, written++) out[written] = out[written - offset]!;
  }
  return out;
}

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return crc;
});

function maskedCrc32c(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (const byte of bytes) crc = crcTable[(crc ^ byte) & 0xff]! ^ (crc >>> 8);
  crc = ~crc >>> 0;
  return (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
}
