import {
  datatypeUnknown,
  shapeInvalid,
  tensorElementsMismatch,
  tensorValueInvalid,
} from "../../../server/errors/tensor-errors.ts";
import { type Datatype, isDatatype } from "../../../server/tensor/datatype.ts";
import { elementCount, shapeText } from "../../../server/tensor/shape.ts";
import type { TypedArray } from "../../../server/tensor/typed-array.ts";
import { convertElements } from "./convert-elements.ts";
import { inferenceError } from "./inference-error.ts";
import {
  type DatatypeOfData,
  inferDatatype,
  isDataArray,
  type TensorData,
  typedArrayTag,
} from "./tensor-data.ts";
import { bytesTensor, numericTensor, type TensorOf, type TypedTensor } from "./typed-tensor.ts";

/** A tensor that is not yet an input has no name for messages. */
const unnamed = "(unnamed)";

/** Class of the typed arrays that hold a datatype as they are. */
const nativeTags: Readonly<Record<Exclude<Datatype, "BYTES">, readonly string[]>> = {
  BOOL: [],
  UINT8: ["Uint8Array", "Uint8ClampedArray"],
  UINT16: ["Uint16Array"],
  UINT32: ["Uint32Array"],
  UINT64: ["BigUint64Array"],
  INT8: ["Int8Array"],
  INT16: ["Int16Array"],
  INT32: ["Int32Array"],
  INT64: ["BigInt64Array"],
  FP16: ["Float16Array", "Uint16Array"],
  FP32: ["Float32Array"],
  FP64: ["Float64Array"],
  BF16: ["Uint16Array"],
};

/**
 * Makes a tensor.
 *
 * Without a datatype the data decides: `Float32Array` is FP32, `BigInt64Array` INT64 and so on for
 * every typed array; an array of numbers is FP32, of bigints INT64, of booleans BOOL, of strings or
 * `Uint8Array`s BYTES. With a datatype the values are converted, and refused if it cannot hold them;
 * floats round to the nearest value. A `Uint16Array` given as FP16 or BF16 is taken as bit patterns.
 *
 * A typed array of the tensor's own datatype is not copied: leave it alone until the call is sent.
 *
 * ```ts
 * tensor([1, 4], [5.1, 3.5, 1.4, 0.2]);        // FP32
 * tensor([2], [1, 2], "INT8");
 * tensor([2], ["a", "b"]);                     // BYTES
 * ```
 *
 * @param shape - row-major; `[]` is a scalar
 * @param data - as many elements as the product of the shape
 * @throws InferenceError `SHAPE_INVALID`, `TENSOR_ELEMENTS_MISMATCH`, `TENSOR_VALUE_INVALID`,
 * `DATATYPE_UNKNOWN`
 */
export function tensor<const T extends TensorData>(
  shape: readonly number[],
  data: T,
): TensorOf<DatatypeOfData<T>>;
export function tensor<D extends Datatype>(
  shape: readonly number[],
  data: TensorData,
  datatype: D,
): TensorOf<D>;
export function tensor(
  shape: readonly number[],
  data: TensorData,
  datatype: Datatype = inferDatatype(data),
): TypedTensor {
  try {
    return makeTensor(shape, data, datatype);
  } catch (thrown) {
    throw inferenceError(thrown);
  }
}

function makeTensor(shape: readonly number[], data: TensorData, datatype: Datatype): TypedTensor {
  if (!isDatatype(datatype)) throw datatypeUnknown(unnamed, datatype);
  const count = elementCount(shape);
  if (Number.isNaN(count)) throw shapeInvalid(unnamed, shapeText(shape));
  if (data.length !== count) throw tensorElementsMismatch(unnamed, data.length, count);
  // A later write to the caller's shape must not reach the tensor.
  const ownShape = [...shape];
  if (datatype === "BYTES") return bytesTensor(ownShape, toByteStrings(data));
  const array = viewIfNative(datatype, data) ?? convertElements(unnamed, datatype, data);
  // The datatype decides the array; the compiler cannot follow it through the union.
  return numericTensor(datatype, ownShape, array) as TypedTensor;
}

function viewIfNative(
  datatype: Exclude<Datatype, "BYTES">,
  data: TensorData,
): TypedArray | undefined {
  if (!isDataArray(data)) return undefined;
  const tag = typedArrayTag(data);
  if (!nativeTags[datatype].includes(tag)) return undefined;
  if (tag === "Float16Array") return new Uint16Array(data.buffer, data.byteOffset, data.length);
  if (tag === "Uint8ClampedArray") return new Uint8Array(data.buffer, data.byteOffset, data.length);
  return data as TypedArray;
}

function toByteStrings(data: TensorData): Uint8Array[] {
  const encoder = new TextEncoder();
  return Array.from<unknown, Uint8Array>(data, (element, index) => {
    if (typeof element === "string") return encoder.encode(element);
    if (element instanceof Uint8Array) return element;
    throw tensorValueInvalid(unnamed, index, String(element), "BYTES, a string or a Uint8Array");
  });
}
