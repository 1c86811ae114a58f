import type { FixedSizeDatatype } from "./datatype.ts";

/** A tensor of fixed-size elements. */
export interface FixedSizeTensor {
  readonly name: string;
  readonly datatype: FixedSizeDatatype;
  /** Row-major; `[]` is a scalar. */
  readonly shape: readonly number[];
  /** Little-endian contents; may be a view on the message that the tensor came in. */
  readonly bytes: Uint8Array;
  readonly elements?: undefined;
}

/** A tensor of byte strings. */
export interface BytesTensor {
  readonly name: string;
  readonly datatype: "BYTES";
  readonly shape: readonly number[];
  readonly bytes?: undefined;
  /** One byte string an element, row-major; may be views on the message that the tensor came in. */
  readonly elements: readonly Uint8Array[];
}

/** A named tensor; a BYTES tensor has `elements`, any other has `bytes`. */
export type Tensor = FixedSizeTensor | BytesTensor;

/** Bytes that the contents of a tensor take in memory, without its name and shape. */
export function tensorByteLength(tensor: Tensor): number {
  if (tensor.bytes) return tensor.bytes.byteLength;
  let total = 0;
  for (const element of tensor.elements) total += element.byteLength;
  return total;
}
