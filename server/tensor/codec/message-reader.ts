import { MalformedMessageError } from "./malformed-message-error.ts";

/** Strings up to this length are read character by character, in bytes. */
const shortString = 32;

/** Messages and groups within each other. */
const maxDepth = 100;

const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Reads the wire format of protobuf (https://protobuf.dev/programming-guides/encoding/) for generated
 * code. Bytes are given as views.
 *
 * All methods throw {@link MalformedMessageError} if the bytes end too early.
 */
export class MessageReader {
  readonly bytes: Uint8Array;
  at: number;
  /** Where the message that is being read ends. */
  end: number;
  #dataView: DataView | undefined;
  /** The last 64-bit varint, in halves. */
  low = 0;
  high = 0;
  #depth = 0;

  constructor(bytes: Uint8Array, start = 0, end = bytes.length) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  /** Key of a field: number and wire type. */
  tag(): number {
    const { bytes } = this;
    const byte = bytes[this.at]!;
    if (byte < 0x80) {
      this.at++;
      if (byte < 8) throw this.#malformed("a field has the number 0");
      return byte;
    }
    const start = this.at;
    const tag = this.uint32();
    if (tag < 8) throw this.#malformed("a field has the number 0");
    // Unlike other varints a key has no more than 32 bits.
    const tooLong = this.at - start > 5 || (this.at - start === 5 && bytes[this.at - 1]! > 0x0f);
    if (tooLong) throw this.#malformed("the key of a field is above 2^32-1");
    return tag;
  }

  /** A varint of 32 bits; of a longer one the rest is dropped, as protobuf says. */
  uint32(): number {
    const { bytes } = this;
    let byte = bytes[this.at]!;
    if (byte < 0x80 && this.at < this.end) {
      this.at++;
      return byte;
    }
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw this.#cut();
      byte = bytes[this.at++]!;
      if (shift < 28) value |= (byte & 0x7f) << shift;
      else if (shift === 28) value |= (byte & 0x0f) << 28;
      if (byte < 0x80) return value >>> 0;
    }
    throw this.#malformed("a varint is longer than ten bytes");
  }

  int32(): number {
    return this.uint32() | 0;
  }

  sint32(): number {
    const value = this.uint32();
    return (value >>> 1) ^ -(value & 1);
  }

  bool(): boolean {
    this.varint64();
    return (this.low | this.high) !== 0;
  }

  /** Reads a varint of 64 bits into {@link low} and {@link high}. */
  varint64(): void {
    const { bytes } = this;
    let low = 0;
    let high = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      if (this.at >= this.end) throw this.#cut();
      const byte = bytes[this.at++]!;
      const bits = byte & 0x7f;
      if (shift < 28) low |= bits << shift;
      else if (shift === 28) {
        low |= bits << 28;
        high |= bits >>> 4;
      } else high |= bits << (shift - 32);
      if (byte < 0x80) {
        this.low = low;
        this.high = high;
        return;
      }
    }
    throw this.#malformed("a varint is longer than ten bytes");
  }

  int64(): bigint {
    this.varint64();
    return toInt64(this.low, this.high);
  }

  uint64(): bigint {
    this.varint64();
    return toUint64(this.low, this.high);
  }

  /** Reads a zigzag varint of 64 bits into {@link low} and {@link high}. */
  zigzag64(): void {
    this.varint64();
    const sign = -(this.low & 1);
    const low = ((this.low >>> 1) | (this.high << 31)) ^ sign;
    this.high = (this.high >>> 1) ^ sign;
    this.low = low;
  }

  sint64(): bigint {
    this.zigzag64();
    return toInt64(this.low, this.high);
  }

  fixed32(): number {
    return this.#view().getUint32(this.#take(4), true);
  }

  sfixed32(): number {
    return this.#view().getInt32(this.#take(4), true);
  }

  fixed64(): bigint {
    return this.#view().getBigUint64(this.#take(8), true);
  }

  sfixed64(): bigint {
    return this.#view().getBigInt64(this.#take(8), true);
  }

  float(): number {
    return this.#view().getFloat32(this.#take(4), true);
  }

  double(): number {
    return this.#view().getFloat64(this.#take(8), true);
  }

  /** Length of what follows, which is there. */
  length(): number {
    const length = this.uint32();
    if (length > this.end - this.at) throw this.#cut();
    return length;
  }

  /** A view. */
  byteString(): Uint8Array {
    const length = this.length();
    const start = this.at;
    this.at = start + length;
    return this.bytes.subarray(start, start + length);
  }

  string(): string {
    const length = this.length();
    if (length === 0) return "";
    const { bytes } = this;
    const start = this.at;
    const end = start + length;
    this.at = end;
    if (length <= shortString) {
      let text = "";
      let index = start;
      for (; index < end; index++) {
        const byte = bytes[index]!;
        if (byte >= 0x80) break;
        text += asciiCharacters[byte]!;
      }
      if (index === end) return text;
    }
    try {
      return strictUtf8.decode(bytes.subarray(start, end));
    } catch {
      throw new MalformedMessageError("a string is not UTF-8", start);
    }
  }

  /** Begins a message within; give what it returns to {@link close}. */
  open(): number {
    const length = this.length();
    if (this.#depth >= maxDepth) throw this.#malformed("messages are nested too deeply");
    this.#depth++;
    const outer = this.end;
    this.end = this.at + length;
    return outer;
  }

  close(outer: number): void {
    this.#depth--;
    this.end = outer;
  }

  /** Leaves out a field that is not known. */
  skip(tag: number, depth = 0): void {
    switch (tag & 7) {
      case 0:
        this.varint64();
        return;
      case 1:
        this.#take(8);
        return;
      case 2:
        this.#take(this.length());
        return;
      case 3:
        this.#skipGroup(tag >>> 3, depth);
        return;
      case 5:
        this.#take(4);
        return;
      default:
        throw this.#malformed(
          (tag & 7) === 4
            ? "a group ends that was not begun"
            : `wire type ${tag & 7} does not exist`,
        );
    }
  }

  #skipGroup(number: number, depth: number): void {
    if (depth + this.#depth >= maxDepth) throw this.#malformed("groups are nested too deeply");
    while (this.at < this.end) {
      const tag = this.tag();
      if ((tag & 7) === 4) {
        if (tag >>> 3 !== number) throw this.#malformed("a group ends that was not begun");
        return;
      }
      this.skip(tag, depth + 1);
    }
    throw this.#cut();
  }

  /** Varints from here to the end of what {@link open} began: they are counted without being read. */
  countVarints(): number {
    const { bytes, end } = this;
    let count = 0;
    for (let index = this.at; index < end; index++) if (bytes[index]! < 0x80) count++;
    return count;
  }

  /** Made when it is first needed: most messages have no number of fixed width outside of arrays. */
  #view(): DataView {
    const { bytes } = this;
    this.#dataView ??= new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    return this.#dataView;
  }

  #take(bytes: number): number {
    const start = this.at;
    if (bytes > this.end - start) throw this.#cut();
    this.at = start + bytes;
    return start;
  }

  #cut(): MalformedMessageError {
    return new MalformedMessageError("the message ends too early", this.at);
  }

  #malformed(problem: string): MalformedMessageError {
    return new MalformedMessageError(problem, this.at);
  }
}

const asciiCharacters = Array.from({ length: 128 }, (_, code) => String.fromCharCode(code));

/** A signed number from its halves. */
export function toInt64(low: number, high: number): bigint {
  if (high === 0) return BigInt(low >>> 0);
  return (BigInt(high) << 32n) | BigInt(low >>> 0);
}

/** An unsigned number from its halves. */
export function toUint64(low: number, high: number): bigint {
  if (high === 0) return BigInt(low >>> 0);
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0);
}
