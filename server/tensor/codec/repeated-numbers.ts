import { MalformedMessageError } from "./malformed-message-error.ts";
import { type MessageReader, toInt64 } from "./message-reader.ts";

/** Typed arrays of repeated numbers. */
export type NumberArray =
  | Float32Array
  | Float64Array
  | Int32Array
  | Uint32Array
  | BigInt64Array
  | BigUint64Array
  | Uint8Array;

interface NumberArrayConstructor<A extends NumberArray> {
  new (length: number): A;
  new (buffer: ArrayBufferLike, byteOffset: number, length: number): A;
  readonly BYTES_PER_ELEMENT: number;
}

/** Runs up to this length are read element by element, as small views cost more than that. */
const shortRun = 8;

/** Reads a packed run of elements of fixed width: a view if it is aligned, else a copy. */
export function readFixed<A extends NumberArray>(
  reader: MessageReader,
  kind: NumberArrayConstructor<A>,
): A {
  const size = kind.BYTES_PER_ELEMENT;
  const length = reader.length();
  if (length % size !== 0) {
    throw new MalformedMessageError(`a packed field has ${length} bytes`, reader.at);
  }
  const { bytes } = reader;
  const start = reader.at;
  reader.at = start + length;
  const offset = bytes.byteOffset + start;
  if (offset % size === 0) return new kind(bytes.buffer, offset, length / size);
  const array = new kind(length / size);
  new Uint8Array(array.buffer, array.byteOffset, length).set(bytes.subarray(start, start + length));
  return array;
}

/** Reads a packed run of varints. */
export function readVarints<A extends Int32Array | Uint32Array | Uint8Array>(
  reader: MessageReader,
  kind: NumberArrayConstructor<A>,
  read: (reader: MessageReader) => number,
): A {
  const outer = reader.open();
  const array = new kind(reader.countVarints());
  for (let at = 0; reader.at < reader.end; at++) array[at] = read(reader);
  reader.close(outer);
  return array;
}

/** Reads a packed run of varints of 64 bits; `read` leaves the halves in the reader. */
export function readVarints64<A extends BigInt64Array | BigUint64Array>(
  reader: MessageReader,
  kind: NumberArrayConstructor<A>,
  read: (reader: MessageReader) => void,
): A {
  const outer = reader.open();
  const count = reader.countVarints();
  const array = new kind(count);
  if (count <= shortRun) {
    for (let at = 0; reader.at < reader.end; at++) {
      read(reader);
      array[at] = toInt64(reader.low, reader.high);
    }
  } else {
    // Halves are stored without a bigint between.
    const halves = new Int32Array(array.buffer, array.byteOffset, count * 2);
    for (let at = 0; reader.at < reader.end; at += 2) {
      read(reader);
      halves[at] = reader.low;
      halves[at + 1] = reader.high;
    }
  }
  reader.close(outer);
  return array;
}

/**
 * Elements of a repeated field that does not come in one packed run: further runs, and elements that
 * are not packed, are joined in room that doubles.
 */
export class RepeatedNumbers<A extends NumberArray> {
  readonly #kind: NumberArrayConstructor<A>;
  #array: A;
  #used: number;

  /** @param before - elements that came already; not written to */
  constructor(kind: NumberArrayConstructor<A>, before: A) {
    this.#kind = kind;
    this.#used = before.length;
    this.#array = new kind(Math.max(16, before.length * 2));
    this.#set(before, 0);
  }

  /** All elements. */
  whole(): A {
    return this.#array.slice(0, this.#used) as A;
  }

  addRun(run: A): void {
    const at = this.#room(run.length);
    this.#set(run, at);
  }

  add(value: A[number]): void {
    const at = this.#room(1);
    (this.#array as { [index: number]: number | bigint })[at] = value;
  }

  #set(run: A, at: number): void {
    (this.#array as Float32Array).set(run as Float32Array, at);
  }

  /** Makes room for elements; gives the place of the first. */
  #room(count: number): number {
    const from = this.#used;
    this.#used += count;
    if (this.#used > this.#array.length) {
      const larger = new this.#kind(Math.max(this.#used, this.#array.length * 2));
      (larger as Float32Array).set(this.#array as Float32Array);
      this.#array = larger;
    }
    return from;
  }
}
