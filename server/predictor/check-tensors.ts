import {
  batchSizeExceeded,
  batchSizeMismatch,
  datatypeMismatch,
  inputMissing,
  inputUnknown,
  outputUnknown,
  shapeMismatch,
} from "../errors/request-errors.ts";
import { shapeMatches } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import type { ModelSignature, TensorSpec } from "./signature.ts";

/**
 * Holds tensors that come from within the process against a signature, as decodeRequest does for those of
 * a message.
 *
 * @returns rows of the batch; 1 for a model without a batch dimension
 * @throws TensorwireError `OUTPUT_UNKNOWN`, `INPUT_MISSING`, `INPUT_UNKNOWN`, `BATCH_SIZE_MISMATCH`,
 * `BATCH_SIZE_EXCEEDED`, `DATATYPE_MISMATCH`, `SHAPE_MISMATCH`
 */
export function checkTensors(
  model: string,
  signature: ModelSignature,
  inputs: readonly Tensor[],
  outputNames: readonly string[],
): number {
  for (const name of outputNames) {
    if (!signature.outputs.some((spec) => spec.name === name)) {
      throw outputUnknown(model, name, namesOf(signature.outputs));
    }
  }
  const required = signature.inputs.filter(({ optional }) => !optional);
  const missing = required.filter(({ name }) => !inputs.some((input) => input.name === name));
  if (missing.length > 0) {
    throw inputMissing(
      model,
      inputs.map(({ name }) => name),
      namesOf(missing),
      namesOf(required),
    );
  }
  const { maxBatchSize } = signature;
  const rows = maxBatchSize > 0 ? (inputs[0]?.shape[0] ?? 1) : 1;
  for (const { name, datatype, shape } of inputs) {
    const spec = signature.inputs.find((candidate) => candidate.name === name);
    if (!spec) throw inputUnknown(model, name, namesOf(signature.inputs));
    if (datatype !== spec.datatype) throw datatypeMismatch(name, datatype, spec.datatype);
    if (!shapeMatches(shape, spec.shape)) throw shapeMismatch(name, shape, spec.shape);
    if (maxBatchSize > 0 && shape[0] !== rows) {
      throw batchSizeMismatch(name, shape[0]!, inputs[0]!.name, rows);
    }
  }
  if (rows > maxBatchSize && maxBatchSize > 0) throw batchSizeExceeded(model, rows, maxBatchSize);
  return rows;
}

function namesOf(specs: readonly TensorSpec[]): string[] {
  return specs.map(({ name }) => name);
}
