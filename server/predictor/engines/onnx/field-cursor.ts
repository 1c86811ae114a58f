import { BinaryReader, WireType } from "@bufbuild/protobuf/wire";
import type { ByteSource } from "./byte-source.ts";

/** The longest tag with a length or number behind it: two varints. */
const mostHeadBytes = 20;

/** Goes through the fields of a protobuf message in a source, reading no more than is asked for. */
export class FieldCursor {
  /** Number of the field that {@link next} came to. */
  field = 0;
  wireType: WireType = WireType.Varint;
  /** Where its contents begin and end. */
  start = 0;
  end = 0;
  readonly #source: ByteSource;
  readonly #limit: number;

  /** A message from `start` to `end`; the whole source without them. */
  constructor(source: ByteSource, start = 0, end = source.size) {
    this.#source = source;
    this.end = start;
    this.#limit = end;
  }

  /**
   * Goes to the next field; false at the end of the message.
   *
   * @throws Error if the bytes are no message
   */
  next(): boolean {
    const at = this.end;
    if (at >= this.#limit) return false;
    const head = this.#source.view(at, Math.min(mostHeadBytes, this.#limit - at));
    const reader = new BinaryReader(head);
    [this.field, this.wireType] = reader.tag();
    if (this.wireType === WireType.LengthDelimited) {
      const length = reader.uint32();
      this.start = at + reader.pos;
      this.end = this.start + length;
    } else {
      this.start = at + reader.pos;
      reader.skip(this.wireType, this.field);
      this.end = at + reader.pos;
    }
    if (this.end > this.#limit) throw new Error("the file ends in the middle of a field");
    return true;
  }

  /** Whether this is a text, bytes or message under a number. */
  isPart(field: number): boolean {
    return this.field === field && this.wireType === WireType.LengthDelimited;
  }

  /** Contents of the field; good until the source is read again. */
  bytes(): Uint8Array {
    return this.#source.view(this.start, this.end - this.start);
  }

  text(): string {
    return new TextDecoder().decode(this.bytes());
  }

  /** A field that is a number. */
  number(): number {
    return Number(new BinaryReader(this.bytes()).int64());
  }

  /** The fields of the field. */
  inside(): FieldCursor {
    return new FieldCursor(this.#source, this.start, this.end);
  }
}
