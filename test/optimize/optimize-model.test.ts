import test from "ava";
import { Tensor } from "onnxruntime-node";
import { TensorProto_DataType } from "../../gen/onnx/onnx_pb.ts";
import {
  type Assessment,
  type Optimization,
  optimizeModel,
  worstDifference,
} from "../../server/optimize/optimize-model.ts";
import { identityModel, onnxModel, tensorInfo } from "../support/onnx-model.ts";
import { operators, weights } from "./graphs.ts";

const { FLOAT, STRING } = TensorProto_DataType;

const nothing: Optimization = {
  graph: "none",
  quantize: "none",
  convolutions: "auto",
  precision: "fp32",
  keepFp32: new Set(),
};

const assessment: Assessment = {
  given: () => ({}),
  shapes: new Map(),
  seed: 1,
  batch: 4,
  threads: 1,
  measureMs: 0,
};

/** Two products with what joins them: nodes that the runtime can fold, and some that it can join. */
const network = onnxModel({
  node: [
    { opType: "Identity", input: ["w"], output: ["same"] },
    { opType: "MatMul", input: ["x", "same"], output: ["a"] },
    { opType: "Add", input: ["a", "b"], output: ["h"] },
    { opType: "Relu", input: ["h"], output: ["r"] },
    { opType: "MatMul", input: ["r", "v"], output: ["y"] },
  ],
  initializer: [weights("w", [32, 64]), weights("b", [64]), weights("v", [64, 32])],
  input: [tensorInfo("x", FLOAT, ["n", 32])],
  output: [tensorInfo("y", FLOAT, ["n", 32])],
});

test("the graph is rewritten first, so that weights behind an Identity are quantized", async (t) => {
  const quantize = { ...nothing, quantize: "uint8" } as const;
  const plain = await optimizeModel("m", network, quantize, assessment);
  t.true(plain.left.some(({ why }) => why === "its weights are no float32 constant"));
  const rewritten = await optimizeModel("m", network, { ...quantize, graph: "basic" }, assessment);
  t.deepEqual(rewritten.left, []);
  t.false(operators(rewritten.bytes).includes("Identity"));
  t.true(rewritten.differences[0]!.relative < 0.05);
});

test("the runtime's own operators come last, over quantized weights", async (t) => {
  const { bytes } = await optimizeModel(
    "m",
    network,
    { ...nothing, quantize: "int8", graph: "extended" },
    assessment,
  );
  t.true(operators(bytes).some((operator) => operator === "DynamicQuantizeMatMul"));
});

test("a rewritten graph answers the same", async (t) => {
  const { bytes, differences, incomparable, speeds } = await optimizeModel(
    "m",
    network,
    { ...nothing, graph: "basic" },
    { ...assessment, measureMs: 20 },
  );
  t.true(operators(bytes).length < operators(network).length);
  t.true(differences[0]!.relative < 1e-6);
  t.deepEqual(incomparable, []);
  t.deepEqual(
    speeds.map(({ rows }) => rows),
    [1, 4],
  );
});

test("convolutions are quantized if that is faster, or if it is asked for", async (t) => {
  const image = onnxModel({
    node: [
      {
        opType: "Conv",
        input: ["x", "w"],
        output: ["y"],
      },
    ],
    initializer: [weights("w", [16, 16, 3, 3])],
    input: [tensorInfo("x", FLOAT, ["n", 16, 8, 8])],
    output: [tensorInfo("y", FLOAT)],
  });
  const always = { ...nothing, quantize: "int8", convolutions: "always" } as const;
  const { bytes, differences } = await optimizeModel("m", image, always, assessment);
  t.true(operators(bytes).includes("ConvInteger"));
  t.true(differences[0]!.relative < 0.05);
  await t.throwsAsync(optimizeModel("m", image, { ...always, convolutions: "never" }, assessment), {
    message: /nothing of it is quantized: 1 Conv: convolutions are left; nothing was written/,
  });
  // Which is faster is the machine's matter; either way the measurement is told.
  const told = await optimizeModel(
    "m",
    image,
    { ...always, convolutions: "auto" },
    assessment,
  ).then(
    ({ changes }) => changes.join(),
    (error: Error) => error.message,
  );
  t.regex(told, /convolutions (quantized|left): a run takes [\d.]+ ms with 8-bit convolutions/);
});

test("a model without floats to change is refused", async (t) => {
  const model = identityModel(TensorProto_DataType.INT64, ["n", 2]);
  await t.throwsAsync(optimizeModel("m", model, { ...nothing, precision: "fp16" }, assessment), {
    message: /computes with no 32-bit floats; nothing was written/,
  });
  await t.throwsAsync(optimizeModel("m", model, { ...nothing, quantize: "int8" }, assessment), {
    message: /has no MatMul, Gemm or Conv/,
  });
});

test("inputs that are given stand beside made up ones", async (t) => {
  const model = onnxModel({
    node: [
      { opType: "Relu", input: ["x"], output: ["y"] },
      { opType: "Identity", input: ["text"], output: ["same"] },
    ],
    input: [tensorInfo("x", FLOAT, ["n", 2]), tensorInfo("text", STRING, [1])],
    output: [tensorInfo("y", FLOAT), tensorInfo("same", STRING)],
  });
  const halve = { ...nothing, precision: "fp16" } as const;
  await t.throwsAsync(optimizeModel("m", model, halve, assessment), {
    message: /no values can be made up for input "text"/,
  });
  const { differences } = await optimizeModel("m", model, halve, {
    ...assessment,
    given: () => ({ text: new Tensor("string", ["a"], [1]) }),
  });
  t.deepEqual(
    differences.map(({ output, elements }) => [output, elements]),
    [
      ["y", 4 * 2 + 4 * 2],
      ["same", 5],
    ],
  );
});

test("made up inputs that a model cannot run on are refused with what to give", async (t) => {
  const model = onnxModel({
    node: [{ opType: "MatMul", input: ["x", "w"], output: ["y"] }],
    initializer: [weights("w", [32, 48])],
    input: [tensorInfo("x", FLOAT, ["n", "m"])],
    output: [tensorInfo("y", FLOAT)],
  });
  const quantize = { ...nothing, quantize: "int8" } as const;
  await t.throwsAsync(optimizeModel("m", model, quantize, assessment), {
    message: /it was made up, and the runtime says: .*--shape NAME=/s,
  });
  const shapes = new Map([["x", [1, 32]]]);
  await t.notThrowsAsync(optimizeModel("m", model, quantize, { ...assessment, shapes }));
});

test("worstDifference finds the output that differs most", (t) => {
  const output = { elements: 1, absolute: 1 };
  t.is(
    worstDifference([
      { ...output, output: "a", relative: 0.1 },
      { ...output, output: "b", relative: Number.POSITIVE_INFINITY },
      { ...output, output: "c", relative: 0.2 },
    ])?.output,
    "b",
  );
  t.is(worstDifference([{ ...output, output: "a", relative: 0 }]), undefined);
});
