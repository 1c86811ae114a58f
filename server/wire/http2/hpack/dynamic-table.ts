import { HeaderField } from "./header-field.ts";

const nothing = new HeaderField("", "");

/** Fields that a peer may refer to, the youngest first (RFC 7541, section 2.3.2). */
export class DynamicTable {
  /** Ring of fields; the length is a power of two. */
  #ring: HeaderField[] = [];
  /** Place in the ring of the next field. */
  #next = 0;
  #length = 0;
  #size = 0;
  #maxSize: number;
  #generation = 0;

  constructor(maxSize: number) {
    this.#maxSize = maxSize;
  }

  get length(): number {
    return this.#length;
  }

  get size(): number {
    return this.#size;
  }

  get maxSize(): number {
    return this.#maxSize;
  }

  /** Changes whenever an index may mean another field than before. */
  get generation(): number {
    return this.#generation;
  }

  /** The field that was added `age` fields before the youngest. */
  get(age: number): HeaderField | undefined {
    if (age >= this.#length) return undefined;
    return this.#ring[(this.#next - 1 - age) & (this.#ring.length - 1)];
  }

  add(field: HeaderField): void {
    this.#generation++;
    this.#evict(this.#maxSize - field.size);
    // A field larger than the table empties it and is not kept (section 4.4).
    if (field.size > this.#maxSize) return;
    if (this.#length === this.#ring.length) this.#grow();
    this.#ring[this.#next] = field;
    this.#next = (this.#next + 1) & (this.#ring.length - 1);
    this.#length++;
    this.#size += field.size;
  }

  resize(maxSize: number): void {
    this.#generation++;
    this.#maxSize = maxSize;
    this.#evict(maxSize);
  }

  #evict(size: number): void {
    while (this.#size > size && this.#length > 0) {
      const oldest = (this.#next - this.#length) & (this.#ring.length - 1);
      this.#size -= this.#ring[oldest]!.size;
      this.#ring[oldest] = nothing;
      this.#length--;
    }
  }

  #grow(): void {
    const grown: HeaderField[] = [];
    for (let age = this.#length - 1; age >= 0; age--) grown.push(this.get(age)!);
    const capacity = Math.max(8, this.#length * 2);
    while (grown.length < capacity) grown.push(nothing);
    this.#next = this.#length;
    this.#ring = grown;
  }
}
