// HPACK written by hand (RFC 7541), right and wrong, for tests of a decoder that shares no code with it.

/** An integer with a prefix of so many bits (section 5.1); `pattern` fills the bits above it. */
export function hpackInteger(pattern: number, prefixBits: number, value: number): Buffer {
  const most = 2 ** prefixBits - 1;
  if (value < most) return Buffer.from([pattern | value]);
  const bytes = [pattern | most];
  let rest = value - most;
  while (rest >= 128) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  bytes.push(rest);
  return Buffer.from(bytes);
}

/** A string without Huffman (section 5.2). */
export function hpackString(text: string): Buffer {
  const bytes = Buffer.from(text, "latin1");
  return Buffer.concat([hpackInteger(0, 7, bytes.byteLength), bytes]);
}

/** Bytes that claim to be a Huffman-coded string. */
export function hpackHuffman(coded: Uint8Array): Buffer {
  return Buffer.concat([hpackInteger(0x80, 7, coded.byteLength), coded]);
}

/** A literal without indexing, and with a literal name (section 6.2.2). */
export function hpackLiteral(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0]), hpackString(name), hpackString(value)]);
}

/** A literal that enters the dynamic table (section 6.2.1). */
export function hpackIndexedLiteral(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0x40]), hpackString(name), hpackString(value)]);
}

/** A reference to the tables (section 6.1); the first dynamic entry is 62. */
export function hpackIndex(index: number): Buffer {
  return hpackInteger(0x80, 7, index);
}

/** A change of the size of the dynamic table (section 6.3). */
export function hpackTableSize(bytes: number): Buffer {
  return hpackInteger(0x20, 5, bytes);
}

/** A block of literals. */
export function hpackBlock(fields: readonly (readonly [name: string, value: string])[]): Buffer {
  return Buffer.concat(fields.map(([name, value]) => hpackLiteral(name, value)));
}

/** The pseudo-header fields of a request, and what follows them. */
export function requestFields(
  path: string,
  ...more: readonly (readonly [name: string, value: string])[]
): readonly (readonly [name: string, value: string])[] {
  return [
    [":method", "POST"],
    [":scheme", "http"],
    [":authority", "raw"],
    [":path", path],
    ...more,
  ];
}

/** Header block of a POST. */
export function requestBlock(
  path: string,
  ...more: readonly (readonly [name: string, value: string])[]
): Buffer {
  return hpackBlock(requestFields(path, ...more));
}
