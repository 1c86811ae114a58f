/** A Float16Array, described by its shape so that the types also work where there is none. */
export interface HalfArray extends ArrayLike<number> {
  readonly [Symbol.toStringTag]: "Float16Array";
  readonly buffer: ArrayBufferLike;
  readonly byteOffset: number;
  readonly byteLength: number;
}

/** Typed array that a datatype is known from. */
export type DataArray =
  | Float32Array
  | Float64Array
  | Int8Array
  | Int16Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Uint8ClampedArray
  | Uint16Array
  | Uint32Array
  | BigUint64Array
  | HalfArray;

/** Elements of a tensor: a typed array, or an array of values of one type. */
export type TensorData =
  | DataArray
  | readonly number[]
  | readonly bigint[]
  | readonly boolean[]
  | readonly (string | Uint8Array)[];

/** Datatype that a kind of data stands for when none is named. */
export type DatatypeOfData<T> = T extends Float32Array
  ? "FP32"
  : T extends Float64Array
    ? "FP64"
    : T extends BigInt64Array
      ? "INT64"
      : T extends BigUint64Array
        ? "UINT64"
        : T extends Int8Array
          ? "INT8"
          : T extends Int16Array
            ? "INT16"
            : T extends Int32Array
              ? "INT32"
              : T extends Uint8Array | Uint8ClampedArray
                ? "UINT8"
                : T extends Uint16Array
                  ? "UINT16"
                  : T extends Uint32Array
                    ? "UINT32"
                    : T extends HalfArray
                      ? "FP16"
                      : T extends readonly number[]
                        ? "FP32"
                        : T extends readonly bigint[]
                          ? "INT64"
                          : T extends readonly boolean[]
                            ? "BOOL"
                            : "BYTES";

const datatypeOfTag = {
  Float16Array: "FP16",
  Float32Array: "FP32",
  Float64Array: "FP64",
  Int8Array: "INT8",
  Int16Array: "INT16",
  Int32Array: "INT32",
  BigInt64Array: "INT64",
  Uint8Array: "UINT8",
  Uint8ClampedArray: "UINT8",
  Uint16Array: "UINT16",
  Uint32Array: "UINT32",
  BigUint64Array: "UINT64",
} as const;

/** Datatypes that {@link inferDatatype} may find. */
export type InferredDatatype =
  | (typeof datatypeOfTag)[keyof typeof datatypeOfTag]
  | "BOOL"
  | "BYTES";

/** Whether data is a typed array (a Buffer and a Float16Array are). */
export function isDataArray(data: TensorData): data is DataArray {
  return ArrayBuffer.isView(data) && typedArrayTag(data) in datatypeOfTag;
}

/** Datatype of data that names none; an empty array counts as one of numbers. */
export function inferDatatype(data: TensorData): InferredDatatype {
  if (isDataArray(data)) return datatypeOfTag[typedArrayTag(data) as keyof typeof datatypeOfTag];
  const first = data[0];
  switch (typeof first) {
    case "bigint":
      return "INT64";
    case "boolean":
      return "BOOL";
    case "string":
    case "object":
      return "BYTES";
    default:
      return "FP32";
  }
}

/** Name of the class of a typed array, the same across realms; "" for a DataView. */
export function typedArrayTag(view: ArrayBufferView | DataArray): string {
  return (view as { [Symbol.toStringTag]?: string })[Symbol.toStringTag] ?? "";
}
