import { readFileSync } from "node:fs";
import test from "ava";
import type { ModelMetadata } from "../../clients/typescript/src/node.ts";
import { inferInputs } from "../../server/cli/infer-inputs.ts";

const model: ModelMetadata = {
  name: "m",
  versions: ["1"],
  platform: "onnx",
  inputs: [
    { name: "x", datatype: "FP32", shape: [-1, 2] },
    { name: "ids", datatype: "INT64", shape: [-1] },
    { name: "text", datatype: "BYTES", shape: [-1] },
  ],
  outputs: [],
};

function fixture(path: string): Uint8Array {
  return readFileSync(new URL(`../fixtures/npy/${path}`, import.meta.url));
}

test("inputs get the datatype of the model and the shape of their values", (t) => {
  const inputs = inferInputs(model, ["x=1,2,3,4", "ids=7,8", "text=a,b"], fixture);
  t.deepEqual(inputs, {
    x: { datatype: "FP32", shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) },
    ids: { datatype: "INT64", shape: [2], data: BigInt64Array.of(7n, 8n) },
    text: { datatype: "BYTES", shape: [2], bytes: [new Uint8Array([97]), new Uint8Array([98])] },
  });
});

test("numbers of a NumPy file are converted to the model's datatype, rounded to the nearest", (t) => {
  const { ids } = inferInputs(model, ["ids=@int32.npy"], fixture);
  t.like(ids, {
    datatype: "INT64",
    shape: [2],
    data: BigInt64Array.of(-2147483648n, 2147483647n),
  });
  const narrow = { ...model, inputs: [{ name: "x", datatype: "FP32", shape: [-1] }] };
  const { x } = inferInputs(narrow, ["x=@big-endian-float64.npy"], fixture);
  t.like(x, { datatype: "FP32", data: Float32Array.of(0.1, 2) });
});

test("halves of a NumPy file become the numbers that they are", (t) => {
  const halves = { ...model, inputs: [{ name: "x", datatype: "FP64", shape: [-1] }] };
  const { x } = inferInputs(halves, ["x=@float16.npy"], fixture);
  t.like(x, { datatype: "FP64", data: Float64Array.of(0.5, -2) });
});

test("values that the model's datatype cannot hold are refused", (t) => {
  t.throws(() => inferInputs(model, ["x=@float64.npy"], fixture), { message: /-1e\+300|FP32/ });
  const bytes = { ...model, inputs: [{ name: "x", datatype: "INT8", shape: [-1] }] };
  t.throws(() => inferInputs(bytes, ["x=300"], fixture), { message: /300.*INT8/ });
});

test("all inputs that the model does not have are told at once, with the nearest name", (t) => {
  t.throws(() => inferInputs(model, ["y1=1", "txt=a", "novalue"], fixture), {
    message: [
      'flag --input: model "m" has no input "y1"; did you mean x?',
      'flag --input: model "m" has no input "txt"; did you mean text?',
      'flag --input: got "novalue", expected NAME=VALUE',
    ].join("\n"),
  });
});
