import type { Datatype, FixedSizeDatatype } from "../../../server/tensor/datatype.ts";
import { bf16ToNumber, fp16ToNumber } from "../../../server/tensor/half.ts";
import type { TypedArray, TypedArrayOf } from "../../../server/tensor/typed-array.ts";
import { type Nested, nest } from "./nested.ts";

/** What an element of a datatype is in JavaScript. */
export type ElementOf<D extends Datatype> = D extends "BOOL"
  ? boolean
  : D extends "INT64" | "UINT64"
    ? bigint
    : D extends "BYTES"
      ? string
      : number;

/** A tensor whose elements all have one size: any datatype but BYTES. */
export interface NumericTensor<D extends FixedSizeDatatype> {
  readonly datatype: D;
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  /**
   * The elements. BOOL is 0 or 1; FP16 and BF16 are bit patterns, which {@link toArray} turns into
   * numbers. In an answer it is a view on the received message where the alignment allows: it keeps
   * that message in memory, so copy it (`slice()`) to keep a small output of a large answer.
   */
  readonly data: TypedArrayOf[D];
  /** The elements as a new array: numbers, or bigints for INT64 and UINT64, or booleans. */
  toArray(): ElementOf<D>[];
  /** The elements in new arrays that are nested as the shape says. */
  toNested(): Nested<ElementOf<D>>;
}

/** A tensor of byte strings. */
export interface BytesTensor {
  readonly datatype: "BYTES";
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** One byte string an element; in an answer they are views on the received message. */
  readonly bytes: readonly Uint8Array[];
  /** The elements decoded as UTF-8, once; U+FFFD stands for bytes that are none. */
  strings(): readonly string[];
  /** The strings in a new array. */
  toArray(): string[];
  /** The strings in new arrays that are nested as the shape says. */
  toNested(): Nested<string>;
}

/** The tensor of a datatype. */
export type TensorOf<D extends Datatype> = D extends FixedSizeDatatype
  ? NumericTensor<D>
  : BytesTensor;

/** A tensor of any datatype; `tensor.datatype === "FP32"` makes `tensor.data` a Float32Array. */
export type TypedTensor = TensorOf<Datatype>;

/** Wraps elements that already have the typed array of their datatype; shares their memory. */
export function numericTensor<D extends FixedSizeDatatype>(
  datatype: D,
  shape: readonly number[],
  data: TypedArrayOf[D],
): NumericTensor<D> {
  return new ArrayTensor(datatype, shape, data);
}

/** Wraps byte strings; shares their memory. */
export function bytesTensor(shape: readonly number[], bytes: readonly Uint8Array[]): BytesTensor {
  return new StringTensor(shape, bytes);
}

class ArrayTensor<D extends FixedSizeDatatype> implements NumericTensor<D> {
  readonly datatype: D;
  readonly shape: readonly number[];
  readonly data: TypedArrayOf[D];

  constructor(datatype: D, shape: readonly number[], data: TypedArrayOf[D]) {
    this.datatype = datatype;
    this.shape = shape;
    this.data = data;
  }

  toArray(): ElementOf<D>[] {
    // The datatype decides the element; the compiler cannot follow it through the union.
    return elementsOf(this.datatype, this.data) as ElementOf<D>[];
  }

  toNested(): Nested<ElementOf<D>> {
    return nest(this.toArray(), this.shape);
  }
}

class StringTensor implements BytesTensor {
  readonly datatype = "BYTES";
  readonly shape: readonly number[];
  readonly bytes: readonly Uint8Array[];
  #strings: readonly string[] | undefined;

  constructor(shape: readonly number[], bytes: readonly Uint8Array[]) {
    this.shape = shape;
    this.bytes = bytes;
  }

  strings(): readonly string[] {
    if (this.#strings === undefined) {
      const decoder = new TextDecoder();
      this.#strings = this.bytes.map((element) => decoder.decode(element));
    }
    return this.#strings;
  }

  toArray(): string[] {
    return [...this.strings()];
  }

  toNested(): Nested<string> {
    return nest(this.strings(), this.shape);
  }
}

function elementsOf(
  datatype: FixedSizeDatatype,
  data: TypedArray,
): number[] | bigint[] | boolean[] {
  switch (datatype) {
    case "BOOL":
      return Array.from(data, Boolean);
    case "FP16":
      return Array.from(data as Uint16Array, fp16ToNumber);
    case "BF16":
      return Array.from(data as Uint16Array, bf16ToNumber);
    case "INT64":
    case "UINT64":
      return Array.from(data as BigInt64Array | BigUint64Array);
    case "UINT8":
    case "UINT16":
    case "UINT32":
    case "INT8":
    case "INT16":
    case "INT32":
    case "FP32":
    case "FP64":
      return Array.from(data as Exclude<TypedArray, BigInt64Array | BigUint64Array>);
  }
}
