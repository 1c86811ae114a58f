/** Values of `bytes` fields from this size on can be left out of the copy. */
export const partBytes = 16 * 1024;

const encoder = new TextEncoder();

/**
 * Sizes found before writing: of the messages, strings and packed fields within, in the order in which
 * they are written.
 */
export class MessageSizes {
  readonly list: number[] = [];
  #count = 0;
  #next = 0;
  /** Bytes of values that are large enough to be parts of their own. */
  partBytes = 0;

  /** Begins anew. One encoding is over before the next begins, so they share one. */
  reset(): this {
    this.#count = 0;
    this.#next = 0;
    this.partBytes = 0;
    return this;
  }

  /** Keeps a place for a size that is found later. */
  reserve(): number {
    return this.add(0);
  }

  add(size: number): number {
    const place = this.#count++;
    if (place < this.list.length) this.list[place] = size;
    else this.list.push(size);
    return place;
  }

  /** The size that the writer needs next. */
  next(): number {
    return this.list[this.#next++]!;
  }

  string(text: string): number {
    const length = utf8Length(text);
    this.add(length);
    return sizeOfVarint(length) + length;
  }

  byteString(bytes: Uint8Array): number {
    const { length } = bytes;
    if (length >= partBytes) this.partBytes += length;
    return sizeOfVarint(length) + length;
  }
}

/** For the encoding that is under way. */
export const messageSizes = new MessageSizes();

/** Messages up to this size share the memory that is allocated at once for many. */
const smallMessage = 4 * 1024;
const chunkBytes = 64 * 1024;
let chunk = new Uint8Array(0);
let chunkAt = 0;

function allocate(size: number): Uint8Array {
  if (size > smallMessage || typeof Buffer === "undefined") {
    return typeof Buffer === "undefined" ? new Uint8Array(size) : Buffer.allocUnsafe(size);
  }
  if (chunkAt + size > chunk.length) {
    chunk = Buffer.allocUnsafeSlow(chunkBytes);
    chunkAt = 0;
  }
  const start = chunkAt;
  chunkAt += size;
  return chunk.subarray(start, chunkAt);
}

/** Writes the wire format of protobuf for generated code, into bytes of exactly the size. */
export class MessageWriter {
  readonly bytes: Uint8Array;
  at = 0;
  #dataView: DataView | undefined;
  readonly #sizes: MessageSizes;
  /** Pieces that are whole, if large values are left out of the copy. */
  readonly #parts: Uint8Array[] | undefined;
  #partStart = 0;

  constructor(size: number, sizes: MessageSizes, inParts: boolean) {
    this.bytes = allocate(size);
    this.#sizes = sizes;
    this.#parts = inParts ? [] : undefined;
  }

  /** What was written, if large values were left out of the copy. */
  parts(): Uint8Array[] {
    const parts = this.#parts ?? [];
    if (this.at > this.#partStart || parts.length === 0) {
      parts.push(this.bytes.subarray(this.#partStart, this.at));
    }
    return parts;
  }

  /** The next of the sizes that were found before. */
  nextSize(): number {
    return this.#sizes.next();
  }

  uint32(value: number): void {
    let rest = value >>> 0;
    while (rest >= 0x80) {
      this.bytes[this.at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    this.bytes[this.at++] = rest;
  }

  /** Negative numbers take ten bytes, as those of 64 bits. */
  int32(value: number): void {
    if (value >= 0) this.uint32(value);
    else this.varint64(value | 0, -1);
  }

  sint32(value: number): void {
    this.uint32((value << 1) ^ (value >> 31));
  }

  bool(value: boolean | number): void {
    this.bytes[this.at++] = value ? 1 : 0;
  }

  /** A varint of 64 bits, in halves. */
  varint64(low: number, high: number): void {
    let lo = low >>> 0;
    let hi = high >>> 0;
    while (hi > 0 || lo >= 0x80) {
      this.bytes[this.at++] = (lo & 0x7f) | 0x80;
      lo = ((lo >>> 7) | (hi << 25)) >>> 0;
      hi >>>= 7;
    }
    this.bytes[this.at++] = lo;
  }

  int64(value: bigint | number): void {
    if (value >= 0 && value < 0x8000_0000) {
      this.uint32(Number(value));
      return;
    }
    const big = BigInt(value);
    this.varint64(Number(big & 0xffff_ffffn), Number((big >> 32n) & 0xffff_ffffn));
  }

  sint64(value: bigint | number): void {
    const big = BigInt(value);
    this.int64((big << 1n) ^ (big >> 63n));
  }

  fixed32(value: number): void {
    this.#view().setUint32(this.at, value, true);
    this.at += 4;
  }

  fixed64(value: bigint | number): void {
    this.#view().setBigUint64(this.at, BigInt.asUintN(64, BigInt(value)), true);
    this.at += 8;
  }

  float(value: number): void {
    this.#view().setFloat32(this.at, value, true);
    this.at += 4;
  }

  double(value: number): void {
    this.#view().setFloat64(this.at, value, true);
    this.at += 8;
  }

  string(text: string): void {
    const length = this.nextSize();
    this.uint32(length);
    const { bytes } = this;
    if (length === text.length) {
      for (let index = 0; index < length; index++) bytes[this.at + index] = text.charCodeAt(index);
    } else encoder.encodeInto(text, bytes.subarray(this.at));
    this.at += length;
  }

  byteString(value: Uint8Array): void {
    const { length } = value;
    this.uint32(length);
    if (this.#parts && length >= partBytes) {
      this.#parts.push(this.bytes.subarray(this.#partStart, this.at), value);
      this.#partStart = this.at;
      return;
    }
    this.bytes.set(value, this.at);
    this.at += length;
  }

  /** Made when it is first needed. */
  #view(): DataView {
    const { bytes } = this;
    this.#dataView ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.#dataView;
  }

  /** Elements of fixed width; of a typed array of their kind its memory is copied. */
  fixedElements(
    values: ArrayLike<number | bigint>,
    width: 4 | 8,
    write: (writer: MessageWriter, value: number | bigint) => void,
    same: boolean,
  ): void {
    if (same) {
      const array = values as unknown as Uint8Array;
      const bytes = new Uint8Array(array.buffer, array.byteOffset, array.length * width);
      this.bytes.set(bytes, this.at);
      this.at += bytes.length;
      return;
    }
    for (let index = 0; index < values.length; index++) write(this, values[index]!);
  }
}

/** Bytes of a string in UTF-8; a lone surrogate becomes U+FFFD. */
export function utf8Length(text: string): number {
  for (let index = 0; index < text.length; index++) {
    if (text.charCodeAt(index) >= 0x80) {
      return typeof Buffer === "undefined"
        ? encoder.encode(text).length
        : Buffer.byteLength(text, "utf8");
    }
  }
  return text.length;
}

/** Bytes of a varint of 32 bits. */
export function sizeOfVarint(value: number): number {
  const bits = value >>> 0;
  if (bits < 0x80) return 1;
  if (bits < 0x4000) return 2;
  if (bits < 0x20_0000) return 3;
  return bits < 0x1000_0000 ? 4 : 5;
}

export function sizeOfInt32(value: number): number {
  return value < 0 ? 10 : sizeOfVarint(value);
}

export function sizeOfSint32(value: number): number {
  return sizeOfVarint((value << 1) ^ (value >> 31));
}

/** Bytes of a varint of 64 bits. */
export function sizeOfInt64(value: bigint | number): number {
  if (value >= 0 && value < 0x8000_0000) return sizeOfVarint(Number(value));
  let rest = BigInt.asUintN(64, BigInt(value));
  let size = 1;
  while (rest >= 0x80n) {
    rest >>= 7n;
    size++;
  }
  return size;
}

export function sizeOfSint64(value: bigint | number): number {
  const big = BigInt(value);
  return sizeOfInt64(BigInt.asUintN(64, (big << 1n) ^ (big >> 63n)));
}
