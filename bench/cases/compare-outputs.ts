import type { ModelInferResponse } from "../../gen/inference/grpc_service_pb.ts";

/** An output tensor that every peer must give. */
export interface ExpectedOutput {
  readonly name: string;
  readonly datatype: string;
  /** Little-endian elements in row-major order. */
  readonly bytes: Uint8Array;
}

/** Largest difference of two floats, absolute or relative to the expected one. */
const tolerance = 1e-5;

/**
 * Compares raw outputs with those expected. Shapes are left out: for a label of each row Triton gives
 * a column where others give a vector.
 * @throws Error that names the first difference
 */
export function compareOutputs(
  response: ModelInferResponse,
  expected: readonly ExpectedOutput[],
): void {
  for (const { name, datatype, bytes } of expected) {
    const index = response.outputs.findIndex((output) => output.name === name);
    const output = response.outputs[index];
    if (output === undefined) throw new Error(`the answer has no output "${name}"`);
    if (output.datatype !== datatype) {
      throw new Error(`output "${name}" is ${output.datatype}, expected ${datatype}`);
    }
    const given = response.rawOutputContents[index];
    if (given === undefined) throw new Error(`output "${name}" has no raw contents`);
    compareContents({ name, datatype, bytes }, given);
  }
}

/**
 * Compares contents of an output with those expected.
 * @throws Error that names the first difference
 */
export function compareContents(
  { name, datatype, bytes }: ExpectedOutput,
  given: Uint8Array,
): void {
  if (given.byteLength !== bytes.byteLength) {
    throw new Error(`output "${name}" has ${given.byteLength} bytes, expected ${bytes.byteLength}`);
  }
  if (datatype === "FP32") compareFloats(name, given, bytes);
  else if (Buffer.compare(given, bytes) !== 0) {
    throw new Error(`output "${name}" differs from what is expected`);
  }
}

function compareFloats(name: string, given: Uint8Array, expected: Uint8Array): void {
  const givenView = new DataView(given.buffer, given.byteOffset, given.byteLength);
  const expectedView = new DataView(expected.buffer, expected.byteOffset, expected.byteLength);
  for (let at = 0; at < given.byteLength; at += 4) {
    const element = givenView.getFloat32(at, true);
    const wanted = expectedView.getFloat32(at, true);
    // Written so that NaN counts as a difference.
    if (!(Math.abs(element - wanted) <= tolerance * Math.max(1, Math.abs(wanted)))) {
      throw new Error(`element ${at / 4} of output "${name}" is ${element}, expected ${wanted}`);
    }
  }
}
