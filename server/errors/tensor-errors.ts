import { TensorwireError } from "./tensorwire-error.ts";

/** Contents whose length does not follow from shape and datatype. */
export function tensorBytesMismatch(
  tensor: string,
  given: number,
  expected: number,
): TensorwireError {
  return new TensorwireError(
    "TENSOR_BYTES_MISMATCH",
    `tensor "${tensor}": got ${given} bytes, expected ${expected}; send the product of the shape times the element size`,
    { tensor, givenBytes: `${given}`, expectedBytes: `${expected}` },
  );
}

/** Typed contents or JSON data with a number of elements unlike the shape's. */
export function tensorElementsMismatch(
  tensor: string,
  given: number,
  expected: number,
): TensorwireError {
  return new TensorwireError(
    "TENSOR_ELEMENTS_MISMATCH",
    `tensor "${tensor}": got ${given} elements, expected ${expected}; send as many as the product of the shape`,
    { tensor, givenElements: `${given}`, expectedElements: `${expected}` },
  );
}

/** An element that its datatype cannot hold. */
export function tensorValueInvalid(
  tensor: string,
  index: number,
  given: string,
  expected: string,
): TensorwireError {
  return new TensorwireError(
    "TENSOR_VALUE_INVALID",
    `tensor "${tensor}", element ${index}: got ${given}, expected ${expected}`,
    { tensor, element: `${index}`, given, expected },
  );
}

/** Raw BYTES contents that do not follow the length-prefixed form. */
export function bytesElementMalformed(
  tensor: string,
  element: number,
  why: string,
): TensorwireError {
  return new TensorwireError(
    "BYTES_ELEMENT_MALFORMED",
    `tensor "${tensor}", element ${element}: ${why}; a BYTES element is a 4-byte little-endian length and that many bytes`,
    { tensor, element: `${element}` },
  );
}

/** A shape with a negative dimension, or with more elements than can be counted. */
export function shapeInvalid(tensor: string, given: string): TensorwireError {
  return new TensorwireError(
    "SHAPE_INVALID",
    `tensor "${tensor}": got shape ${given}, expected dimensions of 0 or more with a product below 2^53`,
    { tensor, givenShape: given },
  );
}

/** A datatype that the protocol does not have. */
export function datatypeUnknown(tensor: string, given: string): TensorwireError {
  return new TensorwireError(
    "DATATYPE_UNKNOWN",
    `tensor "${tensor}": got datatype "${given}", expected one of BOOL, UINT8, UINT16, UINT32, UINT64, INT8, INT16, INT32, INT64, FP16, FP32, FP64, BF16, BYTES`,
    { tensor, givenDatatype: given },
  );
}

/** A datatype without a field in InferTensorContents, sent in one. */
export function datatypeNeedsRaw(tensor: string, datatype: string): TensorwireError {
  return new TensorwireError(
    "DATATYPE_NEEDS_RAW",
    `tensor "${tensor}": ${datatype} has no field in contents; send it in raw_input_contents`,
    { tensor, givenDatatype: datatype },
  );
}

/** Typed contents in a field that does not belong to the datatype. */
export function contentsFieldMismatch(
  tensor: string,
  datatype: string,
  given: string,
  expected: string,
): TensorwireError {
  return new TensorwireError(
    "CONTENTS_FIELD_MISMATCH",
    `tensor "${tensor}" of ${datatype}: got contents.${given}, expected contents.${expected}`,
    { tensor, datatype, givenField: given, expectedField: expected },
  );
}

/** Nested JSON data whose nesting is not that of the shape. */
export function shapeMismatchedNesting(
  tensor: string,
  axis: number,
  given: number,
  shape: readonly number[],
): TensorwireError {
  return new TensorwireError(
    "SHAPE_MISMATCH",
    `tensor "${tensor}": the data has ${given} elements at dimension ${axis}, the shape is [${shape.join(",")}]; nest the data as the shape, or send it flat`,
    { tensor, dimension: `${axis}`, givenElements: `${given}` },
  );
}

/** JSON data nested deeper than the shape has dimensions. */
export function nestedDeeper(tensor: string, shape: readonly number[]): TensorwireError {
  return new TensorwireError(
    "SHAPE_MISMATCH",
    `tensor "${tensor}": the data is nested deeper than the ${shape.length} dimensions of the shape [${shape.join(",")}]`,
    { tensor, givenShape: `[${shape.join(",")}]` },
  );
}
