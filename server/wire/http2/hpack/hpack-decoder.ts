import { DynamicTable } from "./dynamic-table.ts";
import { HeaderField, HeaderList } from "./header-field.ts";
import { HpackError } from "./hpack-error.ts";
import { decodeHuffman, maxDecodedBytes } from "./huffman.ts";
import { staticFields } from "./static-table.ts";

const staticTable = staticFields.map(([name, value]) => new HeaderField(name, value));
const staticCount = staticTable.length;

/** Blocks that are remembered with what they decode to, and the longest of them, in bytes. */
const rememberedBlocks = 4;
const maxRememberedBytes = 512;

/** Names that were decoded before, so that a literal name makes no new string. Bounded. */
const knownNames = new Map<string, string>();

let scratch = Buffer.allocUnsafeSlow(1024);

interface Remembered {
  readonly block: Buffer;
  readonly generation: number;
  readonly list: HeaderList;
}

/** Settings of an {@link HpackDecoder}. */
export interface HpackDecoderOptions {
  /** Bytes of the dynamic table that the peer may use: our SETTINGS_HEADER_TABLE_SIZE. */
  readonly maxTableBytes: number;
  /** Bytes of a header list, counted as the tables do; what comes after is read and dropped. */
  readonly maxListBytes: number;
}

/** Decodes the header blocks of one connection, in the order in which they came (RFC 7541). */
export class HpackDecoder {
  readonly #maxTableBytes: number;
  readonly #maxListBytes: number;
  readonly #table: DynamicTable;
  readonly #remembered: Remembered[] = [];
  #nextRemembered = 0;
  /** Where the decoder stands in the block that it is in. */
  #at = 0;

  constructor({ maxTableBytes, maxListBytes }: HpackDecoderOptions) {
    this.#maxTableBytes = maxTableBytes;
    this.#maxListBytes = maxListBytes;
    this.#table = new DynamicTable(maxTableBytes);
  }

  /** Bytes that the dynamic table holds, by the count of RFC 7541, section 4.1. */
  get tableBytes(): number {
    return this.#table.size;
  }

  /**
   * Decodes a whole block. A block that came before, and means the same as then, gives the same list.
   *
   * @throws HpackError if the bytes are not HPACK, or the peer's table would outgrow what it may use
   */
  decode(block: Buffer, start: number, end: number): HeaderList {
    const remembered = this.#recall(block, start, end);
    if (remembered) return remembered;
    const table = this.#table;
    const before = table.generation;
    const fields: HeaderField[] = [];
    let size = 0;
    let truncated = false;
    let mayResize = true;
    this.#at = start;
    while (this.#at < end) {
      const byte = block[this.#at]!;
      let field: HeaderField;
      if (byte >= 0x80) {
        field = this.#field(this.#integer(block, end, 0x7f));
      } else if (byte >= 0x40) {
        field = this.#literal(block, end, 0x3f);
        table.add(field);
      } else if (byte < 0x20) {
        field = this.#literal(block, end, 0x0f);
      } else {
        if (!mayResize) {
          throw new HpackError("a change of the table's size stands behind a field of the block");
        }
        this.#resize(this.#integer(block, end, 0x1f));
        continue;
      }
      mayResize = false;
      size += field.size;
      if (size <= this.#maxListBytes) fields.push(field);
      else truncated = true;
    }
    const list = new HeaderList(fields, size, truncated);
    if (table.generation === before && !truncated) this.#remember(block, start, end, list);
    return list;
  }

  #recall(block: Buffer, start: number, end: number): HeaderList | undefined {
    const length = end - start;
    const { generation } = this.#table;
    next: for (const entry of this.#remembered) {
      if (entry.block.length !== length || entry.generation !== generation) continue;
      const known = entry.block;
      for (let index = 0; index < length; index++) {
        if (known[index] !== block[start + index]) continue next;
      }
      return entry.list;
    }
    return undefined;
  }

  #remember(block: Buffer, start: number, end: number, list: HeaderList): void {
    if (end - start > maxRememberedBytes) return;
    const copy = Buffer.from(block.subarray(start, end));
    this.#remembered[this.#nextRemembered] = {
      block: copy,
      generation: this.#table.generation,
      list,
    };
    this.#nextRemembered = (this.#nextRemembered + 1) % rememberedBlocks;
  }

  #resize(maxSize: number): void {
    if (maxSize > this.#maxTableBytes) {
      throw new HpackError(
        `the peer wants a table of ${maxSize} bytes, it may have ${this.#maxTableBytes}`,
      );
    }
    this.#table.resize(maxSize);
  }

  #field(index: number): HeaderField {
    if (index === 0) throw new HpackError("index 0 means no field");
    if (index <= staticCount) return staticTable[index - 1]!;
    const field = this.#table.get(index - staticCount - 1);
    if (!field) {
      throw new HpackError(
        `index ${index} is not in the tables, which end at ${staticCount + this.#table.length}`,
      );
    }
    return field;
  }

  #literal(block: Buffer, end: number, mask: number): HeaderField {
    const index = this.#integer(block, end, mask);
    const name = index === 0 ? internName(this.#string(block, end)) : this.#field(index).name;
    return new HeaderField(name, this.#string(block, end));
  }

  /** Reads an integer with a prefix (section 5.1). */
  #integer(block: Buffer, end: number, mask: number): number {
    let value = block[this.#at++]! & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 21; shift += 7) {
      if (this.#at >= end) throw new HpackError("the block ends within an integer");
      const byte = block[this.#at++]!;
      value += (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    throw new HpackError("an integer is above 2^28");
  }

  #string(block: Buffer, end: number): string {
    if (this.#at >= end) throw new HpackError("the block ends before a string");
    const coded = block[this.#at]! >= 0x80;
    const length = this.#integer(block, end, 0x7f);
    const start = this.#at;
    const stop = start + length;
    if (stop > end) throw new HpackError("the block ends within a string");
    this.#at = stop;
    if (!coded) return block.toString("latin1", start, stop);
    const most = maxDecodedBytes(length);
    if (most > scratch.length) scratch = Buffer.allocUnsafeSlow(most * 2);
    const bytes = decodeHuffman(block, start, stop, scratch);
    if (bytes === -1) throw new HpackError("a string is not Huffman-coded as RFC 7541 says");
    return scratch.toString("latin1", 0, bytes);
  }
}

function internName(name: string): string {
  const known = knownNames.get(name);
  if (known !== undefined) return known;
  if (knownNames.size < 256) knownNames.set(name, name);
  return name;
}
