import {
  contentsFieldMismatch,
  datatypeNeedsRaw,
  tensorElementsMismatch,
  tensorValueInvalid,
} from "../errors/tensor-errors.ts";
import type { Datatype, FixedSizeDatatype } from "./datatype.ts";
import { elementCount } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { allocateTypedArray, bytesOf, type TypedArray, viewTypedArray } from "./typed-array.ts";

/** Typed contents of a tensor: arrays of numbers, typed or plain, one of them filled. */
export interface TypedContents {
  readonly boolContents: ArrayLike<boolean | number>;
  readonly intContents: ArrayLike<number>;
  readonly int64Contents: ArrayLike<bigint>;
  readonly uintContents: ArrayLike<number>;
  readonly uint64Contents: ArrayLike<bigint>;
  readonly fp32Contents: ArrayLike<number>;
  readonly fp64Contents: ArrayLike<number>;
  readonly bytesContents: readonly Uint8Array[];
}

type ContentsField = keyof TypedContents;

const fields: readonly ContentsField[] = [
  "boolContents",
  "intContents",
  "int64Contents",
  "uintContents",
  "uint64Contents",
  "fp32Contents",
  "fp64Contents",
  "bytesContents",
];

const fieldOf: Readonly<Record<Datatype, ContentsField | undefined>> = {
  BOOL: "boolContents",
  UINT8: "uintContents",
  UINT16: "uintContents",
  UINT32: "uintContents",
  UINT64: "uint64Contents",
  INT8: "intContents",
  INT16: "intContents",
  INT32: "intContents",
  INT64: "int64Contents",
  FP16: undefined,
  FP32: "fp32Contents",
  FP64: "fp64Contents",
  BF16: undefined,
  BYTES: "bytesContents",
};

/** Narrower integers than their field: largest value, and smallest. */
const ranges: Partial<Record<Datatype, readonly [number, number]>> = {
  UINT8: [0, 0xff],
  UINT16: [0, 0xffff],
  INT8: [-0x80, 0x7f],
  INT16: [-0x8000, 0x7fff],
};

/** Whether InferTensorContents has a field for the datatype; FP16 and BF16 have none. */
export function hasContentsField(datatype: Datatype): boolean {
  return fieldOf[datatype] !== undefined;
}

/** Whether any field of the contents holds an element. */
export function contentsHoldElements(contents: TypedContents | undefined): boolean {
  return contents !== undefined && fields.some((field) => contents[field].length > 0);
}

/**
 * Reads typed contents. BYTES elements are views; everything else is copied once.
 *
 * @param contents - `undefined` counts as empty
 * @throws TensorwireError `DATATYPE_NEEDS_RAW`, `CONTENTS_FIELD_MISMATCH`,
 * `TENSOR_ELEMENTS_MISMATCH`, `TENSOR_VALUE_INVALID`
 */
export function decodeContents(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  contents: TypedContents | undefined,
): Tensor {
  const expected = fieldOf[datatype];
  if (expected === undefined) throw datatypeNeedsRaw(name, datatype);
  if (contents) {
    for (const field of fields) {
      if (field !== expected && contents[field].length > 0) {
        throw contentsFieldMismatch(name, datatype, protoName(field), protoName(expected));
      }
    }
  }
  const values = contents?.[expected] ?? [];
  const count = elementCount(shape);
  if (values.length !== count) throw tensorElementsMismatch(name, values.length, count);
  if (datatype === "BYTES") {
    return { name, datatype, shape, elements: contents?.bytesContents ?? [] };
  }
  const array = allocateTypedArray(datatype, count);
  const range = ranges[datatype];
  if (range) checkRange(name, datatype, values as ArrayLike<number>, range);
  copyInto(array, values as ArrayLike<number | bigint | boolean>);
  return { name, datatype, shape, bytes: bytesOf(array) };
}

/**
 * Writes contents into the field of the datatype.
 *
 * @param tensor - of a datatype with {@link hasContentsField}
 * @throws TensorwireError `DATATYPE_NEEDS_RAW` for others
 */
export function encodeContents(tensor: Tensor): Partial<TypedContents> {
  const field = fieldOf[tensor.datatype];
  if (field === undefined) throw datatypeNeedsRaw(tensor.name, tensor.datatype);
  if (tensor.elements) return { bytesContents: [...tensor.elements] };
  const array = viewTypedArray(tensor.name, tensor.datatype, tensor.bytes, tensor.shape);
  return { [field]: array };
}

function copyInto(array: TypedArray, values: ArrayLike<number | bigint | boolean>): void {
  if (ArrayBuffer.isView(values)) {
    // The field's typed array has elements of the same kind, number or bigint.
    (array as Float64Array).set(values as unknown as Float64Array);
    return;
  }
  // One datatype decides both sides: BOOL booleans become 0 and 1 by assignment, the rest match.
  const target = array as { [index: number]: number | bigint };
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    target[index] = typeof value === "boolean" ? Number(value) : value;
  }
}

function checkRange(
  name: string,
  datatype: FixedSizeDatatype,
  values: ArrayLike<number>,
  [min, max]: readonly [number, number],
): void {
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (value < min || value > max) {
      throw tensorValueInvalid(name, index, `${value}`, `${datatype}, ${min} to ${max}`);
    }
  }
}

/** `int64Contents` as the protocol writes it: `int64_contents`. */
function protoName(field: ContentsField): string {
  return field.replace("Contents", "_contents");
}
