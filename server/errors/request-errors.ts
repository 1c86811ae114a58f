import { shapeText } from "../tensor/shape.ts";
import { TensorwireError } from "./tensorwire-error.ts";

/** Inputs that the model needs and the request lacks. */
export function inputMissing(
  model: string,
  given: readonly string[],
  missing: readonly string[],
  required: readonly string[],
): TensorwireError {
  return new TensorwireError(
    "INPUT_MISSING",
    `model "${model}": got inputs ${names(given)}, missing ${names(missing)}; required are ${names(required)}`,
    { model, given: given.join(","), missing: missing.join(","), required: required.join(",") },
  );
}

/** An input that the model does not have. */
export function inputUnknown(
  model: string,
  input: string,
  known: readonly string[],
): TensorwireError {
  return new TensorwireError(
    "INPUT_UNKNOWN",
    `model "${model}" has no input "${input}"; it has ${names(known)}`,
    { model, input, known: known.join(",") },
  );
}

/** An input that is given twice. */
export function inputDuplicate(model: string, input: string): TensorwireError {
  return new TensorwireError(
    "INPUT_DUPLICATE",
    `model "${model}": input "${input}" is given more than once`,
    { model, input },
  );
}

/** A requested output that the model does not have. */
export function outputUnknown(
  model: string,
  output: string,
  known: readonly string[],
): TensorwireError {
  return new TensorwireError(
    "OUTPUT_UNKNOWN",
    `model "${model}" has no output "${output}"; it has ${names(known)}`,
    { model, output, known: known.join(",") },
  );
}

/** An output that is requested twice. */
export function outputDuplicate(model: string, output: string): TensorwireError {
  return new TensorwireError(
    "OUTPUT_DUPLICATE",
    `model "${model}": output "${output}" is requested more than once`,
    { model, output },
  );
}

/** A parameter of the wrong type or value. */
export function parameterInvalid(
  parameter: string,
  given: string,
  expected: string,
): TensorwireError {
  return new TensorwireError(
    "PARAMETER_INVALID",
    `parameter "${parameter}": got ${given}, expected ${expected}`,
    { parameter, given, expected },
  );
}

/** Raw buffers and inputs do not pair up. */
export function rawCountMismatch(given: number, expected: number): TensorwireError {
  return new TensorwireError(
    "RAW_COUNT_MISMATCH",
    `got ${given} raw_input_contents for ${expected} inputs; send one for each input, in their order`,
    { givenBuffers: `${given}`, expectedBuffers: `${expected}` },
  );
}

/** An input that has typed contents beside raw contents. */
export function rawAndContents(input: string): TensorwireError {
  return new TensorwireError(
    "RAW_AND_CONTENTS",
    `input "${input}" has contents, and the request has raw_input_contents; send all inputs in one of the two`,
    { input },
  );
}

/** A datatype other than the model's. */
export function datatypeMismatch(input: string, given: string, expected: string): TensorwireError {
  return new TensorwireError(
    "DATATYPE_MISMATCH",
    `input "${input}": got datatype ${given}, expected ${expected}`,
    { input, givenDatatype: given, expectedDatatype: expected },
  );
}

/** A shape other than the model's. */
export function shapeMismatch(
  input: string,
  given: readonly number[],
  expected: readonly number[],
): TensorwireError {
  return new TensorwireError(
    "SHAPE_MISMATCH",
    `input "${input}": expected shape ${shapeText(expected)}, got ${shapeText(given)}; -1 is any size`,
    { input, givenShape: shapeText(given), expectedShape: shapeText(expected) },
  );
}

/** More rows than the model takes at once. */
export function batchSizeExceeded(model: string, given: number, limit: number): TensorwireError {
  return new TensorwireError(
    "BATCH_SIZE_EXCEEDED",
    `model "${model}": got a batch of ${given} rows, the limit is ${limit}; split it`,
    { model, givenRows: `${given}`, maxBatchSize: `${limit}` },
  );
}

/** Inputs that disagree on the number of rows. */
export function batchSizeMismatch(
  input: string,
  given: number,
  other: string,
  expected: number,
): TensorwireError {
  return new TensorwireError(
    "BATCH_SIZE_MISMATCH",
    `input "${input}" has ${given} rows, input "${other}" has ${expected}; all inputs of a batch have the same first dimension`,
    { input, givenRows: `${given}`, expectedRows: `${expected}` },
  );
}

/** A classification of an output that has no scores. */
export function classificationInvalid(output: string, why: string): TensorwireError {
  return new TensorwireError(
    "CLASSIFICATION_INVALID",
    `output "${output}": classification ${why}`,
    { output },
  );
}

function names(list: readonly string[]): string {
  return `[${list.map((name) => `"${name}"`).join(", ")}]`;
}
