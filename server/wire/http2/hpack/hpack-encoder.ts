import { encodeHuffman, huffmanLength } from "./huffman.ts";
import { staticFields } from "./static-table.ts";

/** Most bytes of our own table, whatever the peer allows (RFC 7541, section 4.2). */
const maxTableBytes = 4096;

/** What the table adds to the length of a field (section 4.1). */
const fieldOverhead = 32;

/** Templates whose bytes are kept for one connection. */
const maxTemplates = 64;

/** Values that must not be found out by trying: they are in no table (section 7.1.3). */
const neverIndexed = new Set(["authorization", "cookie", "proxy-authorization", "set-cookie"]);

const staticCount = staticFields.length;
/** Index of the first static field of a name, and of a name with its value. */
const staticNames = new Map<string, number>();
const staticPairs = new Map<string, number>();
for (const [index, [name, value]] of staticFields.entries()) {
  if (!staticNames.has(name)) staticNames.set(name, index + 1);
  staticPairs.set(`${name}\0${value}`, index + 1);
}

/** A field to send; lower-case name, and both of characters 0 to 255. */
export type OutgoingField = readonly [name: string, value: string];

/** Fields that are sent again and again, in this order. Compared by identity. */
export class HeaderTemplate {
  readonly fields: readonly OutgoingField[];

  constructor(fields: readonly OutgoingField[]) {
    this.fields = fields;
  }
}

/** Blocks are written here and copied out; grows to the largest. */
let scratch = Buffer.allocUnsafeSlow(4096);

/**
 * Encodes the header blocks of one connection, to be sent in the order in which they are made. Fields
 * of templates enter the dynamic table as long as there is room; nothing is evicted from it for
 * another, so a template has the same bytes until a new field enters.
 */
export class HpackEncoder {
  #tableBytes: number;
  #usedBytes = 0;
  /** Which of all fields that entered the table a name and value is, from 1. */
  readonly #ordinals = new Map<string, number>();
  #entered = 0;
  readonly #templates = new Map<HeaderTemplate, { entered: number; bytes: Buffer }>();
  /** Size of the table that the next block has to say. */
  #resize: number | undefined;
  #at = 0;

  /** @param peerTableBytes - the peer's SETTINGS_HEADER_TABLE_SIZE */
  constructor(peerTableBytes = maxTableBytes) {
    this.#tableBytes = Math.min(peerTableBytes, maxTableBytes);
  }

  /** The peer changed its SETTINGS_HEADER_TABLE_SIZE. */
  setPeerTableBytes(bytes: number): void {
    const size = Math.min(bytes, maxTableBytes);
    if (size === this.#tableBytes) return;
    this.#tableBytes = size;
    this.#usedBytes = 0;
    this.#entered = 0;
    this.#ordinals.clear();
    this.#templates.clear();
    this.#resize = size;
  }

  /**
   * Encodes a template, and the fields that go with it.
   *
   * @returns bytes that are not changed later
   */
  encode(template: HeaderTemplate, fields?: readonly OutgoingField[]): Buffer {
    const known = this.#templates.get(template);
    const current = known !== undefined && known.entered === this.#entered;
    if (current && fields === undefined && this.#resize === undefined) return known.bytes;
    this.#begin(mostBytes(template.fields) + (fields ? mostBytes(fields) : 0));
    const resized = this.#resize !== undefined;
    this.#sayResize();
    const start = this.#at;
    const entered = this.#entered;
    if (current) this.#at += known.bytes.copy(scratch, start);
    else for (const [name, value] of template.fields) this.#field(name, value, true);
    // The first block of a template lets its fields enter; from the second on it refers to them.
    if (!current && !resized && entered === this.#entered) {
      if (this.#templates.size >= maxTemplates) this.#templates.clear();
      this.#templates.set(template, { entered, bytes: copyOf(start, this.#at) });
    }
    if (fields) for (const [name, value] of fields) this.#field(name, value, false);
    return copyOf(0, this.#at);
  }

  /** Encodes fields that are sent once. */
  encodeFields(fields: readonly OutgoingField[]): Buffer {
    this.#begin(mostBytes(fields));
    this.#sayResize();
    for (const [name, value] of fields) this.#field(name, value, false);
    return copyOf(0, this.#at);
  }

  #begin(bytes: number): void {
    if (bytes > scratch.length) scratch = Buffer.allocUnsafeSlow(bytes * 2);
    this.#at = 0;
  }

  #sayResize(): void {
    if (this.#resize === undefined) return;
    // By way of 0 the peer forgets what it held of us.
    this.#integer(0x20, 0x1f, 0);
    this.#integer(0x20, 0x1f, this.#resize);
    this.#resize = undefined;
  }

  #field(name: string, value: string, mayEnter: boolean): void {
    const key = `${name}\0${value}`;
    const staticPair = staticPairs.get(key);
    if (staticPair !== undefined) {
      this.#integer(0x80, 0x7f, staticPair);
      return;
    }
    const ordinal = this.#ordinals.get(key);
    if (ordinal !== undefined) {
      this.#integer(0x80, 0x7f, staticCount + 1 + this.#entered - ordinal);
      return;
    }
    const nameIndex = staticNames.get(name) ?? 0;
    const size = name.length + value.length + fieldOverhead;
    if (neverIndexed.has(name)) this.#integer(0x10, 0x0f, nameIndex);
    else if (mayEnter && this.#usedBytes + size <= this.#tableBytes) {
      this.#integer(0x40, 0x3f, nameIndex);
      this.#usedBytes += size;
      this.#entered++;
      this.#ordinals.set(key, this.#entered);
    } else this.#integer(0x00, 0x0f, nameIndex);
    if (nameIndex === 0) this.#string(name);
    this.#string(value);
  }

  #integer(pattern: number, mask: number, value: number): void {
    if (value < mask) {
      scratch[this.#at++] = pattern | value;
      return;
    }
    scratch[this.#at++] = pattern | mask;
    let rest = value - mask;
    while (rest >= 0x80) {
      scratch[this.#at++] = (rest & 0x7f) | 0x80;
      rest >>>= 7;
    }
    scratch[this.#at++] = rest;
  }

  #string(text: string): void {
    const coded = huffmanLength(text);
    if (coded < text.length) {
      this.#integer(0x80, 0x7f, coded);
      this.#at = encodeHuffman(text, scratch, this.#at);
    } else {
      this.#integer(0x00, 0x7f, text.length);
      this.#at += scratch.write(text, this.#at, "latin1");
    }
  }
}

function copyOf(start: number, end: number): Buffer {
  return Buffer.from(scratch.subarray(start, end));
}

/** No field takes more than its text and three integers. */
function mostBytes(fields: readonly OutgoingField[]): number {
  let bytes = 16;
  for (const [name, value] of fields) bytes += name.length + value.length + 18;
  return bytes;
}
