import type { MessageInitShape } from "@bufbuild/protobuf";
import test from "ava";
import fc from "fast-check";
import { Tensor } from "onnxruntime-node";
import {
  type GraphProtoSchema,
  type NodeProtoSchema,
  TensorProto_DataType,
} from "../../gen/onnx/onnx_pb.ts";
import { type HalfModel, halveGraph } from "../../server/optimize/half-graph.ts";
import { quantizeGraph } from "../../server/optimize/quantize-graph.ts";
import { surveyValues } from "../../server/optimize/value-survey.ts";
import { onnxModel, tensorInfo } from "../support/onnx-model.ts";
import { difference, graphOf, integer, operators, runModel, wave, weights } from "./graphs.ts";

type Graph = MessageInitShape<typeof GraphProtoSchema>;
type Node = MessageInitShape<typeof NodeProtoSchema>;

const { FLOAT, FLOAT16, INT64, BOOL } = TensorProto_DataType;

/** What 16 bits may cost in a few steps: a rounding is at most 2^-11. */
const tolerance = 0.005;

/** Surveys a model of the input `x` and turns it into 16 bits. */
async function halved(
  model: Uint8Array,
  x: Float32Array,
  shape: readonly number[],
  keep: readonly string[] = [],
): Promise<HalfModel> {
  const survey = await surveyValues("m", model, [{ x: new Tensor("float32", x, shape) }]);
  return halveGraph("m", model, survey, new Set(keep));
}

/** Turns a model into 16 bits and holds it against the original. */
async function checked(
  t: { readonly true: (value: boolean, message?: string) => void },
  model: Uint8Array,
  { x = wave(8, 0.61), shape = [2, 4] }: { x?: Float32Array; shape?: readonly number[] } = {},
): Promise<HalfModel> {
  const result = await halved(model, x, shape);
  const before = await runModel(model, { x: [x, shape] });
  const after = await runModel(result.bytes, { x: [x, shape] });
  for (const [name, values] of Object.entries(before)) {
    const off = difference(values.map(Number), after[name]!.map(Number));
    t.true(off < tolerance || values.every((value, index) => value === after[name]![index]), name);
  }
  return result;
}

function model(node: readonly Node[], rest: Graph = {}): Uint8Array {
  return onnxModel({
    node: [...node],
    input: [tensorInfo("x", FLOAT, ["n", 4])],
    output: [tensorInfo("y", FLOAT)],
    ...rest,
  });
}

function initializers(bytes: Uint8Array): string[] {
  return graphOf(bytes).initializer.map(({ name, dataType }) => `${name} ${dataType}`);
}

test("weights and what lies between inputs and outputs become 16 bits, with casts at both ends", async (t) => {
  const original = model(
    [
      { opType: "MatMul", input: ["x", "w"], output: ["product"] },
      { opType: "Add", input: ["product", "b"], output: ["y"] },
    ],
    {
      initializer: [
        weights("w", [4, 2], Float32Array.of(1, 2, -3, 0.5, 0, 1, 2, 0)),
        weights("b", [2], Float32Array.of(10, -0.25)),
      ],
      valueInfo: [tensorInfo("product", FLOAT, ["n", 2])],
    },
  );
  const { bytes, converted, left } = await halved(original, wave(4), [1, 4]);
  t.deepEqual(operators(bytes), ["Cast", "MatMul", "Add", "Cast"]);
  t.is(converted, 2);
  t.deepEqual(left, []);
  t.deepEqual(initializers(bytes), [`w__fp16 ${FLOAT16}`, `b__fp16 ${FLOAT16}`]);
  const graph = graphOf(bytes);
  const types = [...graph.input, ...graph.output].map(
    ({ name, type }) =>
      `${name} ${type?.value.case === "tensorType" ? type.value.value.elemType : 0}`,
  );
  t.deepEqual(types, [`x ${FLOAT}`, `y ${FLOAT}`]);
  const [info] = graph.valueInfo;
  t.is(info?.type?.value.case === "tensorType" && info.type.value.value.elemType, FLOAT16);
  // 1*1 + 2*-3 + 3*0 + 4*2 + 10 and 1*2 + 2*0.5 + 3*1 + 4*0 - 0.25, exact in 16 bits.
  const { y } = await runModel(bytes, { x: [Float32Array.of(1, 2, 3, 4), [1, 4]] });
  t.deepEqual(y, [13, 5.75]);
});

for (const [title, value, why] of [
  ["beyond the range of 16 bits", 1e6, "a constant of it is too large for 16 bits"],
  ["too small for 16 bits", 1e-12, "a constant of it is too small for 16 bits"],
] as const) {
  test(`a node with a constant ${title} stays in 32 bits`, async (t) => {
    const { bytes, left } = await checked(
      t,
      model(
        [
          { opType: "Relu", input: ["x"], output: ["positive"] },
          { opType: "Add", name: "guard", input: ["positive", "c"], output: ["sum"] },
          { opType: "Log", name: "log", input: ["sum"], output: ["y"] },
        ],
        { initializer: [weights("c", [], Float32Array.of(value))] },
      ),
      { x: Float32Array.of(0.5, 1, 2, 3), shape: [1, 4] },
    );
    t.deepEqual(left[0], { node: "guard", operator: "Add", why });
    t.true(initializers(bytes).includes(`c ${FLOAT}`));
  });
}

test("a value that gets too large on the samples stays in 32 bits", async (t) => {
  const { left } = await checked(
    t,
    model([
      { opType: "Mul", input: ["x", "x"], output: ["square"] },
      { opType: "Sqrt", input: ["square"], output: ["root"] },
      { opType: "Neg", input: ["root"], output: ["y"] },
    ]),
    { x: Float32Array.of(1, -300, 20, 4000), shape: [1, 4] },
  );
  t.deepEqual(
    left.map(({ operator, why }) => `${operator}: ${why}`),
    ["Mul: a value of it is too large for 16 bits", "Sqrt: a value of it is too large for 16 bits"],
  );
});

test("subgraphs stay in 32 bits, and what they read has its name and type", async (t) => {
  const branch = (input: string, opType: string): Graph => ({
    name: opType,
    node: [{ opType, input: [input, "w"], output: [`${opType}_out`] }],
    output: [tensorInfo(`${opType}_out`, FLOAT)],
  });
  const { bytes, left } = await checked(
    t,
    model(
      [
        { opType: "Mul", input: ["x", "w"], output: ["scaled"] },
        {
          opType: "ReduceSum",
          input: ["scaled"],
          output: ["sum"],
          attribute: [integer("keepdims", 0)],
        },
        { opType: "Greater", input: ["sum", "zero"], output: ["positive"] },
        {
          opType: "If",
          name: "choice",
          input: ["positive"],
          output: ["chosen"],
          attribute: [
            { name: "then_branch", type: 5, g: branch("scaled", "Add") },
            { name: "else_branch", type: 5, g: branch("scaled", "Sub") },
          ],
        },
        { opType: "Mul", input: ["chosen", "w"], output: ["y"] },
      ],
      { initializer: [weights("w", [4]), weights("zero", [], Float32Array.of(0))] },
    ),
  );
  t.deepEqual(left, [{ node: "choice", operator: "If", why: "it holds subgraphs" }]);
  t.true(initializers(bytes).includes(`w ${FLOAT}`));
  t.true(initializers(bytes).includes(`w__fp16 ${FLOAT16}`));
});

test("an output that other nodes read keeps its name and is read in 16 bits", async (t) => {
  const { bytes } = await checked(
    t,
    model(
      [
        { opType: "Abs", input: ["x"], output: ["y"] },
        { opType: "Sqrt", input: ["y"], output: ["z"] },
      ],
      { output: [tensorInfo("y", FLOAT), tensorInfo("z", FLOAT)] },
    ),
  );
  const root = graphOf(bytes).node.find(({ opType }) => opType === "Sqrt");
  t.deepEqual(root?.input, ["y__fp16"]);
});

test("Constant nodes, ConstantOfShape and casts to floats follow", async (t) => {
  await checked(
    t,
    model([
      {
        opType: "Constant",
        output: ["two"],
        attribute: [{ name: "value", type: 4, t: weights("", [1], Float32Array.of(2)) }],
      },
      {
        opType: "Constant",
        output: ["half"],
        attribute: [{ name: "value_float", type: 1, f: 0.5 }],
      },
      { opType: "Shape", input: ["x"], output: ["shape"] },
      { opType: "ConstantOfShape", input: ["shape"], output: ["zeros"] },
      {
        opType: "ConstantOfShape",
        input: ["shape"],
        output: ["threes"],
        attribute: [{ name: "value", type: 4, t: weights("", [1], Float32Array.of(3)) }],
      },
      { opType: "Greater", input: ["x", "zeros"], output: ["positive"] },
      { opType: "Cast", input: ["positive"], output: ["mask"], attribute: [integer("to", FLOAT)] },
      { opType: "Mul", input: ["mask", "two"], output: ["a"] },
      { opType: "Mul", input: ["threes", "half"], output: ["b"] },
      { opType: "Add", input: ["a", "b"], output: ["y"] },
    ]),
  );
});

test("floats that become integers are computed in 32 bits", async (t) => {
  // 4097 is no 16-bit float; positions must not be rounded to one.
  const { bytes } = await checked(
    t,
    model(
      [
        { opType: "ReduceSum", input: ["x"], output: ["sum"], attribute: [integer("keepdims", 0)] },
        { opType: "Mul", input: ["sum", "scale"], output: ["position"] },
        { opType: "Floor", input: ["position"], output: ["floor"] },
        { opType: "Cast", input: ["floor"], output: ["index"], attribute: [integer("to", INT64)] },
        { opType: "Cast", input: ["index"], output: ["y"], attribute: [integer("to", FLOAT)] },
        { opType: "Neg", input: ["x"], output: ["z"] },
      ],
      {
        initializer: [weights("scale", [], Float32Array.of(4097))],
        output: [tensorInfo("y", FLOAT), tensorInfo("z", FLOAT)],
      },
    ),
    { x: Float32Array.of(1, 0, 0, 0), shape: [1, 4] },
  );
  const { y } = await runModel(bytes, { x: [Float32Array.of(1, 0, 0, 0), [1, 4]] });
  t.deepEqual(y, [4097]);
});

test("operators and nodes that are named stay in 32 bits", async (t) => {
  const original = model([
    { opType: "Abs", name: "first", input: ["x"], output: ["a"] },
    { opType: "Exp", name: "second", input: ["a"], output: ["b"] },
    { opType: "Sqrt", name: "third", input: ["b"], output: ["y"] },
  ]);
  const { left, converted } = await halved(original, wave(8), [2, 4], ["Exp", "third"]);
  t.deepEqual(
    left.map(({ node }) => node),
    ["second", "third"],
  );
  t.is(converted, 1);
});

test("of a quantized model all but the scaling of sums becomes 16 bits", async (t) => {
  const original = onnxModel({
    node: [
      { opType: "Relu", input: ["x"], output: ["h"] },
      { opType: "Gemm", input: ["h", "w", "b"], output: ["l"] },
      { opType: "Softmax", input: ["l"], output: ["y"] },
    ],
    initializer: [weights("w", [32, 48]), weights("b", [48])],
    input: [tensorInfo("x", FLOAT, ["n", 32])],
    output: [tensorInfo("y", FLOAT, ["n", 48])],
  });
  const quantized = quantizeGraph("m", original, "int8", "left").bytes;
  const { left, bytes } = await checked(t, quantized, { x: wave(96, 0.61), shape: [3, 32] });
  t.deepEqual(
    left.map(({ operator }) => operator),
    ["DynamicQuantizeLinear", "Cast", "Mul", "Mul"],
  );
  t.true(initializers(bytes).includes(`b__fp16 ${FLOAT16}`));
  t.true(initializers(bytes).some((text) => /scales 1$/.test(text)));
});

test("a graph of any shape keeps its interface and nearly its answers", async (t) => {
  const binary = ["Add", "Sub", "Mul", "Max", "Min"];
  const unary = ["Abs", "Neg", "Relu", "Tanh", "Sigmoid", "Identity", "Exp32"];
  const step = fc.record({
    opType: fc.constantFrom(...binary, ...unary, "Tanh"),
    left: fc.nat(),
    right: fc.nat(),
    isOutput: fc.boolean(),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 12 }), async (steps) => {
      const values = ["x", "c"];
      const outputs: string[] = [];
      const nodes = steps.map(({ opType, left, right, isOutput }, index): Node => {
        const pick = (choice: number): string => values[choice % values.length]!;
        const output = `v${index}`;
        const input = binary.includes(opType) ? [pick(left), pick(right)] : [pick(left)];
        values.push(output);
        if (isOutput || index === steps.length - 1) outputs.push(output);
        // Some nodes stay in 32 bits, so that every kind of border is met.
        return opType === "Exp32"
          ? { opType: "Sin", name: output, input, output: [output] }
          : { opType, name: output, input, output: [output] };
      });
      const original = onnxModel({
        node: nodes,
        initializer: [weights("c", [4], Float32Array.of(0.5, -1.25, 2, 0.1))],
        input: [tensorInfo("x", FLOAT, ["n", 4])],
        output: outputs.map((name) => tensorInfo(name, FLOAT)),
      });
      const x = wave(8, 0.61);
      const { bytes } = await halved(original, x, [2, 4], ["Sin"]);
      const before = await runModel(original, { x: [x, [2, 4]] });
      const after = await runModel(bytes, { x: [x, [2, 4]] });
      t.deepEqual(Object.keys(after), Object.keys(before));
      for (const [name, values] of Object.entries(before)) {
        const scale = Math.max(1, ...values.map(Math.abs));
        for (const [index, value] of values.entries()) {
          const off = Math.abs(value - after[name]![index]!) / scale;
          // Products may square what was rounded before; sixteen bits leave some three digits.
          t.true(off < 0.05 || scale > 1e3, `${name}: ${value} became ${after[name]![index]}`);
        }
      }
    }),
    { numRuns: 60, includeErrorInReport: true },
  );
});

test("inputs that are no floats, and their nodes, stay as they are", async (t) => {
  const original = onnxModel({
    node: [
      { opType: "Not", input: ["flags"], output: ["inverse"] },
      { opType: "Relu", input: ["x"], output: ["y"] },
    ],
    input: [tensorInfo("x", FLOAT, ["n"]), tensorInfo("flags", BOOL, ["n"])],
    output: [tensorInfo("y", FLOAT), tensorInfo("inverse", BOOL)],
  });
  const survey = await surveyValues("m", original, []);
  t.is(survey.types.get("flags"), "bool");
  const { bytes, left } = halveGraph("m", original, survey, new Set());
  t.deepEqual(operators(bytes), ["Not", "Cast", "Relu", "Cast"]);
  t.deepEqual(left, []);
});
