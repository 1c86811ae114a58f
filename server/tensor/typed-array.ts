import { tensorBytesMismatch } from "../errors/tensor-errors.ts";
import { elementSize, type FixedSizeDatatype } from "./datatype.ts";
import { elementCount } from "./shape.ts";

/**
 * Typed array that holds the elements of a datatype. BOOL is 0 or 1 in a Uint8Array; FP16 and BF16
 * are bit patterns in a Uint16Array.
 */
export type TypedArrayOf = {
  BOOL: Uint8Array;
  UINT8: Uint8Array;
  UINT16: Uint16Array;
  UINT32: Uint32Array;
  UINT64: BigUint64Array;
  INT8: Int8Array;
  INT16: Int16Array;
  INT32: Int32Array;
  INT64: BigInt64Array;
  FP16: Uint16Array;
  FP32: Float32Array;
  FP64: Float64Array;
  BF16: Uint16Array;
};

/** Any typed array that holds tensor elements. */
export type TypedArray = TypedArrayOf[FixedSizeDatatype];

const constructors: {
  readonly [D in FixedSizeDatatype]: {
    new (buffer: ArrayBufferLike, byteOffset: number, length: number): TypedArrayOf[D];
    new (length: number): TypedArrayOf[D];
  };
} = {
  BOOL: Uint8Array,
  UINT8: Uint8Array,
  UINT16: Uint16Array,
  UINT32: Uint32Array,
  UINT64: BigUint64Array,
  INT8: Int8Array,
  INT16: Int16Array,
  INT32: Int32Array,
  INT64: BigInt64Array,
  FP16: Uint16Array,
  FP32: Float32Array,
  FP64: Float64Array,
  BF16: Uint16Array,
};

/**
 * Views little-endian contents as a typed array; copies only if they start off a boundary of the
 * element size.
 *
 * @param tensor - name for messages
 * @param bytes - the result may share this memory
 * @param shape - row-major; `[]` is a scalar
 * @throws TensorwireError `TENSOR_BYTES_MISMATCH` if shape and length disagree
 */
export function viewTypedArray<D extends FixedSizeDatatype>(
  tensor: string,
  datatype: D,
  bytes: Uint8Array,
  shape: readonly number[],
): TypedArrayOf[D] {
  const size = elementSize(datatype);
  const count = elementCount(shape);
  if (bytes.byteLength !== count * size) {
    throw tensorBytesMismatch(tensor, bytes.byteLength, count * size);
  }
  // The constructor copies; slice() on a Buffer is one more misaligned view.
  const aligned = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new constructors[datatype](aligned.buffer, aligned.byteOffset, count);
}

/** A typed array of zeros for `count` elements. */
export function allocateTypedArray<D extends FixedSizeDatatype>(
  datatype: D,
  count: number,
): TypedArrayOf[D] {
  return new constructors[datatype](count);
}

/** The bytes under a typed array; a view. Hosts are little-endian, as the wire is. */
export function bytesOf(array: TypedArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}
