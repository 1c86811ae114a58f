import { fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import {
  type GraphProtoSchema,
  ModelProtoSchema,
  type NodeProtoSchema,
  TensorProto_DataType,
} from "../../gen/onnx/onnx_pb.ts";
import { minQuantizedWeights, quantizeGraph } from "../../server/optimize/quantize-graph.ts";
import { onnxModel, tensorInfo } from "../support/onnx-model.ts";
import {
  difference,
  float,
  graphOf,
  integer,
  operators,
  runModel,
  wave,
  weights,
} from "./graphs.ts";

type Graph = MessageInitShape<typeof GraphProtoSchema>;
type Node = MessageInitShape<typeof NodeProtoSchema>;

const { FLOAT, INT64, BOOL } = TensorProto_DataType;

/** What 8 bits of weights and inputs may cost in sums of some dozen products. */
const tolerance = 0.03;

const x = (shape: readonly number[]): { x: [Float32Array, readonly number[]] } => ({
  x: [
    wave(
      shape.reduce((product, size) => product * size, 1),
      0.61,
    ),
    shape,
  ],
});

/** A model with one node on `x`, and whatever constants it has. */
function nodeModel(node: Node, rest: Graph, rank = 2): Uint8Array {
  const shape = Array.from({ length: rank }, (_, axis) => `d${axis}`);
  return onnxModel({
    node: [node],
    input: [tensorInfo("x", FLOAT, shape)],
    output: [tensorInfo("y", FLOAT)],
    ...rest,
  });
}

test("a MatMul becomes an integer product of hand-computed codes", async (t) => {
  // 2 x 512 weights of two values: every column is (1, -0.5), so its scale is 1/127, its codes 127 and -64
  // (-63.5 rounds away from zero here: Math.round(-63.5) is -63; the scale in 32 bits decides).
  const values = Float32Array.from({ length: 1024 }, (_, index) => (index < 512 ? 1 : -0.5));
  const model = nodeModel(
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [2, 512], values)] },
  );
  const { bytes, quantized, left } = quantizeGraph("m", model, "int8", "quantized");
  t.deepEqual([...quantized], [["MatMul", 1]]);
  t.deepEqual(left, []);
  t.deepEqual(operators(bytes), ["DynamicQuantizeLinear", "MatMulInteger", "Cast", "Mul", "Mul"]);
  const { initializer } = graphOf(bytes);
  t.deepEqual(
    initializer.map(({ name, dims }) => `${name} ${dims}`),
    ["w__codes 2,512", "w__scales 512"],
  );
  const { y } = await runModel(bytes, { x: [Float32Array.of(255, 0, 0, 255), [2, 2]] });
  // Inputs are 0 and 255 with a step of 1: exact. What is left is the rounding of the weights.
  const scale = Math.fround(1 / 127);
  t.true(Math.abs(y![0]! - 255 * 127 * scale) < 1e-3);
  t.true([63, 64].some((code) => Math.abs(y![512]! + 255 * code * scale) < 1e-3));
});

test("signed and unsigned codes stand for the same weights", async (t) => {
  const model = nodeModel(
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [32, 48])] },
  );
  const signed = quantizeGraph("m", model, "int8", "left").bytes;
  const unsigned = quantizeGraph("m", model, "uint8", "left").bytes;
  const codes = (bytes: Uint8Array): Uint8Array =>
    graphOf(bytes).initializer.find(({ name }) => name === "w__codes")!.rawData;
  t.deepEqual(
    [...codes(unsigned)],
    [...codes(signed)].map((code) => (code + 128) % 256),
  );
  // Single weights at a time: no CPU can overflow on the sum of two products.
  const x = Float32Array.from({ length: 32 * 32 }, (_, index) => (index % 33 === 0 ? 1 : 0));
  t.deepEqual(
    (await runModel(signed, { x: [x, [32, 32]] })).y,
    (await runModel(unsigned, { x: [x, [32, 32]] })).y,
  );
});

// Unsigned codes here: their sums are exact on every CPU.
for (const [title, node, rest, shape] of [
  [
    "MatMul on three dimensions",
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [32, 48])] },
    [2, 3, 32],
  ],
  [
    "Gemm",
    { opType: "Gemm", input: ["x", "w", "b"], output: ["y"] },
    { initializer: [weights("w", [32, 48]), weights("b", [48])] },
    [5, 32],
  ],
  [
    "Gemm without bias",
    { opType: "Gemm", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [32, 48])] },
    [5, 32],
  ],
  [
    "Gemm with transposed weights, alpha and beta",
    {
      opType: "Gemm",
      input: ["x", "w", "b"],
      output: ["y"],
      attribute: [integer("transB", 1), float("alpha", -2.5), float("beta", 0.5)],
    },
    { initializer: [weights("w", [48, 32]), weights("b", [1, 48])] },
    [5, 32],
  ],
  [
    "Conv of images",
    {
      opType: "Conv",
      input: ["x", "w", "b"],
      output: ["y"],
      attribute: [
        { name: "pads", type: 7, ints: [1n, 1n, 1n, 1n] },
        { name: "strides", type: 7, ints: [2n, 1n] },
      ],
    },
    { initializer: [weights("w", [16, 8, 3, 3]), weights("b", [16])] },
    [2, 8, 9, 7],
  ],
  [
    "Conv of sequences without bias",
    { opType: "Conv", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [16, 16, 5])] },
    [2, 16, 11],
  ],
] as const satisfies readonly (readonly [string, Node, Graph, readonly number[]])[]) {
  test(`${title} answers nearly as before`, async (t) => {
    const model = nodeModel(node, rest, shape.length);
    const { bytes, quantized } = quantizeGraph("m", model, "uint8", "quantized");
    t.is(quantized.get(node.opType), 1);
    const before = await runModel(model, x(shape));
    const after = await runModel(bytes, x(shape));
    t.is(after.y!.length, before.y!.length);
    t.true(difference(before.y!, after.y!) < tolerance, `${difference(before.y!, after.y!)}`);
    t.true(bytes.byteLength < 0.8 * model.byteLength);
  });
}

test("weights in a Constant node are taken, and the node leaves with them", async (t) => {
  const tensor = weights("", [32, 48]);
  const model = onnxModel({
    node: [
      {
        opType: "Constant",
        output: ["w"],
        attribute: [{ name: "value", type: 4, t: tensor }],
      },
      { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    ],
    input: [tensorInfo("x", FLOAT, ["n", 32])],
    output: [tensorInfo("y", FLOAT, ["n", 48])],
  });
  const { bytes } = quantizeGraph("m", model, "uint8", "quantized");
  t.false(operators(bytes).includes("Constant"));
  const [before, after] = [await runModel(model, x([4, 32])), await runModel(bytes, x([4, 32]))];
  t.true(difference(before.y!, after.y!) < tolerance);
});

test("nodes that share weights share codes, and nodes that share an input quantize it once", (t) => {
  const model = onnxModel({
    node: [
      { opType: "MatMul", input: ["x", "w"], output: ["a"] },
      { opType: "MatMul", input: ["x", "w"], output: ["b"] },
      { opType: "Add", input: ["a", "b"], output: ["y"] },
    ],
    initializer: [weights("w", [32, 48])],
    input: [tensorInfo("x", FLOAT, ["n", 32])],
    output: [tensorInfo("y", FLOAT, ["n", 48])],
  });
  const { bytes } = quantizeGraph("m", model, "uint8", "quantized");
  t.is(operators(bytes).filter((operator) => operator === "DynamicQuantizeLinear").length, 1);
  t.is(graphOf(bytes).initializer.filter(({ name }) => name.endsWith("__codes")).length, 1);
});

test("weights that another node or a subgraph reads stay beside their codes", async (t) => {
  const branch = (input: string): Graph => ({
    name: "branch",
    node: [{ opType: "Identity", input: [input], output: [`${input}_out`] }],
    output: [tensorInfo(`${input}_out`, FLOAT)],
  });
  const model = onnxModel({
    node: [
      { opType: "MatMul", input: ["x", "v"], output: ["y"] },
      { opType: "MatMul", input: ["x", "w"], output: ["z"] },
      { opType: "Abs", input: ["v"], output: ["magnitudes"] },
      {
        opType: "If",
        input: ["true"],
        output: ["chosen"],
        attribute: [
          { name: "then_branch", type: 5, g: branch("w") },
          { name: "else_branch", type: 5, g: branch("x") },
        ],
      },
    ],
    initializer: [
      weights("v", [32, 48]),
      weights("w", [32, 48]),
      { name: "true", dims: [], dataType: BOOL, int32Data: [1] },
    ],
    input: [tensorInfo("x", FLOAT, ["n", 32])],
    output: ["y", "z", "magnitudes", "chosen"].map((name) => tensorInfo(name, FLOAT)),
  });
  const { bytes, quantized } = quantizeGraph("m", model, "uint8", "quantized");
  t.deepEqual([...quantized], [["MatMul", 2]]);
  const kept = graphOf(bytes).initializer.map(({ name }) => name);
  t.true(kept.includes("v") && kept.includes("w"));
  const [before, after] = [await runModel(model, x([4, 32])), await runModel(bytes, x([4, 32]))];
  t.deepEqual(after.chosen, before.chosen);
  t.deepEqual(after.magnitudes, before.magnitudes);
});

for (const [title, node, rest, why, rank] of [
  [
    "few weights",
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [3, 4])] },
    `it has fewer than ${minQuantizedWeights} weights`,
    2,
  ],
  [
    "weights that are an input with a default",
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    {
      initializer: [weights("w", [32, 48])],
      input: [tensorInfo("x", FLOAT, ["n", 32]), tensorInfo("w", FLOAT, [32, 48])],
    },
    "its weights are no float32 constant",
    2,
  ],
  [
    "weights of three dimensions",
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [2, 32, 48])] },
    "its weights have 3 dimensions",
    2,
  ],
  [
    "weights that are not finite",
    { opType: "MatMul", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [32, 48], wave(1536).fill(Number.NaN, 7, 8))] },
    "its weights are not all finite",
    2,
  ],
  [
    "a transposed input",
    { opType: "Gemm", input: ["x", "w"], output: ["y"], attribute: [integer("transA", 1)] },
    { initializer: [weights("w", [32, 48])] },
    "its input is transposed",
    2,
  ],
  [
    "groups",
    { opType: "Conv", input: ["x", "w"], output: ["y"], attribute: [integer("group", 32)] },
    { initializer: [weights("w", [32, 1, 6, 6])] },
    "it is grouped",
    4,
  ],
] as const satisfies readonly (readonly [string, Node, Graph, string, number])[]) {
  test(`a node with ${title} is left, and the reason told`, (t) => {
    const model = nodeModel({ ...node, name: "it" }, rest, rank);
    const { bytes, quantized, left } = quantizeGraph("m", model, "uint8", "quantized");
    t.is(quantized.size, 0);
    t.deepEqual(left, [{ node: "it", operator: node.opType, why }]);
    t.deepEqual(operators(bytes), [node.opType]);
  });
}

test("convolutions are left if that is asked for", (t) => {
  const model = nodeModel(
    { opType: "Conv", input: ["x", "w"], output: ["y"] },
    { initializer: [weights("w", [16, 16, 3, 3])] },
    4,
  );
  t.deepEqual(operators(quantizeGraph("m", model, "int8", "left").bytes), ["Conv"]);
});

test("weights that files of IR version 3 list as inputs are taken", async (t) => {
  const model = onnxModel(
    {
      node: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
      initializer: [weights("w", [32, 48])],
      input: [tensorInfo("x", FLOAT, ["n", 32]), tensorInfo("w", FLOAT, [32, 48])],
      output: [tensorInfo("y", FLOAT, ["n", 48])],
    },
    3n,
  );
  const { bytes } = quantizeGraph("m", model, "uint8", "quantized");
  t.deepEqual(
    graphOf(bytes).input.map(({ name }) => name),
    ["x"],
  );
  const [before, after] = [await runModel(model, x([4, 32])), await runModel(bytes, x([4, 32]))];
  t.true(difference(before.y!, after.y!) < tolerance);
});

test("names that a graph has already are not given again", async (t) => {
  const model = onnxModel({
    node: [
      { opType: "Abs", name: "y", input: ["x"], output: ["x__codes"] },
      { opType: "MatMul", input: ["x__codes", "w"], output: ["y__sums"] },
      { opType: "MatMul", input: ["x", "w"], output: ["y"] },
      { opType: "Cast", input: ["y"], output: ["w__codes"], attribute: [integer("to", INT64)] },
    ],
    initializer: [weights("w", [32, 48])],
    input: [tensorInfo("x", FLOAT, ["n", 32])],
    output: [tensorInfo("y", FLOAT), tensorInfo("y__sums", FLOAT), tensorInfo("w__codes", INT64)],
  });
  const { bytes } = quantizeGraph("m", model, "uint8", "quantized");
  const values = graphOf(bytes).node.flatMap(({ output }) => output);
  t.is(new Set(values).size, values.length);
  await t.notThrowsAsync(runModel(bytes, x([4, 32])));
});

test("a model of operators before version 11 is refused with what to do", (t) => {
  const model = fromBinary(ModelProtoSchema, onnxModel({ output: [tensorInfo("y", FLOAT)] }));
  model.opsetImport = [{ ...model.opsetImport[0]!, domain: "", version: 9n }];
  t.throws(() => quantizeGraph("m", toBinary(ModelProtoSchema, model), "int8", "left"), {
    message: /version 9 of the ONNX operators, expected 11 or later/,
  });
});
