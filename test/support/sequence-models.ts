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

/** Numbers from -0.5 to 0.5, the same each time. */
function numbers(count: number, seed: number): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32 - 0.5;
  });
}

/** A recurrent layer of 4 cells over inputs of 3: `y` for each step, with its two states `h` and `c`. */
export function lstmModel(): Uint8Array {
  const [inputs, cells] = [3, 4];
  const weights = (name: string, dims: number[], seed: number) => ({
    name,
    dims: dims.map(BigInt),
    dataType: float,
    floatData: numbers(
      dims.reduce((product, size) => product * size, 1),
      seed,
    ),
  });
  return onnxModel({
    node: [
      { opType: "Unsqueeze", input: ["x", "first"], output: ["x1"] },
      { opType: "Unsqueeze", input: ["h", "first"], output: ["h1"] },
      { opType: "Unsqueeze", input: ["c", "first"], output: ["c1"] },
      {
        opType: "LSTM",
        input: ["x1", "W", "R", "B", "", "h1", "c1"],
        output: ["", "h2", "c2"],
        attribute: [{ name: "hidden_size", type: 2, i: BigInt(cells) }],
      },
      { opType: "Squeeze", input: ["h2", "first"], output: ["h_next"] },
      { opType: "Squeeze", input: ["c2", "first"], output: ["c_next"] },
      { opType: "Identity", input: ["h_next"], output: ["y"] },
    ],
    initializer: [
      weights("W", [1, 4 * cells, inputs], 1),
      weights("R", [1, 4 * cells, cells], 2),
      weights("B", [1, 8 * cells], 3),
      { name: "first", dims: [1n], dataType: 7, int64Data: [0n] },
    ],
    input: [
      tensorInfo("x", float, ["n", inputs]),
      tensorInfo("h", float, ["n", cells]),
      tensorInfo("c", float, ["n", cells]),
    ],
    output: [
      tensorInfo("y", float, ["n", cells]),
      tensorInfo("h_next", float, ["n", cells]),
      tensorInfo("c_next", float, ["n", cells]),
    ],
  });
}

/** Adds up what x is above the mean of its batch: a model whose rows know of each other. */
export function mixingModel(): Uint8Array {
  const shape = ["n", 1];
  return onnxModel({
    node: [
      { opType: "ReduceMean", input: ["x"], output: ["mean"] },
      { opType: "Sub", input: ["x", "mean"], output: ["above"] },
      { opType: "Add", input: ["above", "before"], output: ["sum"] },
      { opType: "Identity", input: ["sum"], output: ["after"] },
    ],
    input: [tensorInfo("x", float, shape), tensorInfo("before", float, shape)],
    output: [tensorInfo("sum", float, shape), tensorInfo("after", float, shape)],
  });
}
