import { onnxModel, tensorInfo } from "./onnx-model.ts";

const float = 1;
const int32 = 6;
const string = 8;
const bool = 9;
const uint64 = 13;

/** Dimensions of a tensor with a batch dimension or without. */
function sizes(batch: "batched" | "single", ...rest: (number | string)[]): (number | string)[] {
  return batch === "batched" ? ["n", ...rest] : rest;
}

/**
 * Adds up the values of a sequence in a state that the server keeps, and answers what it was told of the
 * sequence: `sum` = x + what was there, `told_start`, `told_ready`, `told_end`, `told_id`.
 */
export function accumulatorModel(
  batch: "batched" | "single" = "batched",
  id: "UINT64" | "BYTES" = "UINT64",
): Uint8Array {
  const shape = sizes(batch, 1);
  const idType = id === "BYTES" ? string : uint64;
  return onnxModel({
    node: [
      { opType: "Add", input: ["x", "sum_in"], output: ["sum"] },
      { opType: "Identity", input: ["sum"], output: ["sum_out"] },
      { opType: "Identity", input: ["START"], output: ["told_start"] },
      { opType: "Identity", input: ["READY"], output: ["told_ready"] },
      { opType: "Identity", input: ["END"], output: ["told_end"] },
      { opType: "Identity", input: ["CORRID"], output: ["told_id"] },
    ],
    input: [
      tensorInfo("x", int32, shape),
      tensorInfo("sum_in", int32, shape),
      tensorInfo("START", int32, shape),
      tensorInfo("READY", float, shape),
      tensorInfo("END", bool, shape),
      tensorInfo("CORRID", idType, shape),
    ],
    output: [
      tensorInfo("sum", int32, shape),
      tensorInfo("sum_out", int32, shape),
      tensorInfo("told_start", int32, shape),
      tensorInfo("told_ready", float, shape),
      tensorInfo("told_end", bool, shape),
      tensorInfo("told_id", idType, shape),
    ],
  });
}

/** Inputs that the server feeds {@link accumulatorModel}; `strategy` is the text of a strategy, or more. */
export function accumulatorConfig(
  maxBatchSize: number,
  strategy: string,
  id: "UINT64" | "STRING" = "UINT64",
): string {
  return `
max_batch_size: ${maxBatchSize}
sequence_batching {
  ${strategy}
  control_input [
    { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] },
    { name: "READY" control [ { kind: CONTROL_SEQUENCE_READY fp32_false_true: [ -1, 7 ] } ] },
    { name: "END" control [ { kind: CONTROL_SEQUENCE_END bool_false_true: [ false, true ] } ] },
    { name: "CORRID" control [ { kind: CONTROL_SEQUENCE_CORRID data_type: TYPE_${id} } ] }
  ]
  state [ { input_name: "sum_in" output_name: "sum_out" data_type: TYPE_INT32 dims: [ 1 ] } ]
}
`;
}

/**
 * Remembers all values of a sequence: `all` = what was there with x behind it, in a state that grows.
 */
export function collectorModel(batch: "batched" | "single" = "batched"): Uint8Array {
  return onnxModel({
    node: [
      {
        opType: "Concat",
        input: ["past", "x"],
        output: ["all"],
        attribute: [{ name: "axis", type: 2, i: batch === "batched" ? 1n : 0n }],
      },
      { opType: "Identity", input: ["all"], output: ["kept"] },
    ],
    input: [tensorInfo("x", float, sizes(batch, 1)), tensorInfo("past", float, sizes(batch, "m"))],
    output: [
      tensorInfo("all", float, sizes(batch, "k")),
      tensorInfo("kept", float, sizes(batch, "k")),
    ],
  });
}
