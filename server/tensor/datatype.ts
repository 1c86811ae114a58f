/** Datatypes of the Open Inference Protocol, by their names on the wire. */
export const datatypes = [
  "BOOL",
  "UINT8",
  "UINT16",
  "UINT32",
  "UINT64",
  "INT8",
  "INT16",
  "INT32",
  "INT64",
  "FP16",
  "FP32",
  "FP64",
  "BF16",
  "BYTES",
] as const;

/** Name of a datatype on the wire. */
export type Datatype = (typeof datatypes)[number];

/** A datatype whose elements all have the same size; all but BYTES. */
export type FixedSizeDatatype = Exclude<Datatype, "BYTES">;

const sizes: Readonly<Record<Datatype, number>> = {
  BOOL: 1,
  UINT8: 1,
  UINT16: 2,
  UINT32: 4,
  UINT64: 8,
  INT8: 1,
  INT16: 2,
  INT32: 4,
  INT64: 8,
  FP16: 2,
  FP32: 4,
  FP64: 8,
  BF16: 2,
  BYTES: 0,
};

/** Size of one element in bytes; 0 for BYTES, whose elements vary. */
export function elementSize(datatype: Datatype): number {
  return sizes[datatype];
}

/** Whether `name` is the name of a datatype. Names are upper case. */
export function isDatatype(name: string): name is Datatype {
  return Object.hasOwn(sizes, name);
}
