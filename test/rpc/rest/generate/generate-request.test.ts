import test from "ava";
import {
  decodeGenerate,
  type GenerateInput,
} from "../../../../server/rpc/rest/generate/generate-request.ts";
import { splitBytesElements } from "../../../../server/tensor/bytes-elements.ts";

const input = (name: string, datatype: string, ...shape: number[]): GenerateInput => ({
  name,
  datatype,
  shape: shape.map(BigInt),
});

const inputs = [
  input("text_input", "BYTES", 1),
  input("batch", "BYTES", -1, 1),
  input("any", "INT64", -1, -1),
  input("matrix", "FP32", 2, 2),
  input("scalar", "BOOL"),
  input("cut", "INT32", -1, 3),
];

const decode = (body: object) => decodeGenerate("m", "3", body as never, inputs);

test("members of inputs become tensors of the declared shape", (t) => {
  const {
    modelName,
    modelVersion,
    id,
    inputs: given,
    rawInputContents,
  } = decode({
    id: "7",
    text_input: "é",
    batch: "x",
    any: [1, 2n ** 60n],
    matrix: [1, 2, 3, 4],
    scalar: true,
    cut: [
      [1, 2, 3],
      [4, 5, 6],
    ],
  });
  t.deepEqual([modelName, modelVersion, id], ["m", "3", "7"]);
  t.deepEqual(
    given.map(({ name, datatype, shape }) => [name, datatype, ...shape.map(Number)]),
    [
      ["text_input", "BYTES", 1],
      ["batch", "BYTES", 1, 1],
      ["any", "INT64", 1, 2],
      ["matrix", "FP32", 2, 2],
      ["scalar", "BOOL"],
      ["cut", "INT32", 2, 3],
    ],
  );
  const [text] = splitBytesElements("text_input", rawInputContents[0]!, 1);
  t.is(Buffer.from(text!).toString(), "é");
  t.is(Buffer.from(rawInputContents[2]!).readBigInt64LE(8), 2n ** 60n);
  t.is(rawInputContents[4]![0], 1);
});

test("other members are parameters of their type, whether they stand in parameters or not", (t) => {
  const { parameters } = decode({
    a: true,
    b: 1,
    parameters: { c: 0.5, d: "x", e: null, f: ["y", "z"], big: 2n ** 63n },
  });
  t.deepEqual(
    Object.fromEntries(
      Object.entries(parameters).map(([name, { parameterChoice }]) => [name, parameterChoice]),
    ) as object,
    {
      a: { case: "boolParam", value: true },
      b: { case: "int64Param", value: 1n },
      c: { case: "doubleParam", value: 0.5 },
      d: { case: "stringParam", value: "x" },
      f: { case: "stringParam", value: '["y","z"]' },
      big: { case: "uint64Param", value: 2n ** 63n },
    },
  );
});

for (const [body, reason] of [
  [{ text_input: ["a", "b"] }, "TENSOR_ELEMENTS_MISMATCH"],
  [{ matrix: [1, 2] }, "TENSOR_ELEMENTS_MISMATCH"],
  [{ cut: [1, 2] }, "TENSOR_ELEMENTS_MISMATCH"],
  [{ text_input: 1 }, "TENSOR_VALUE_INVALID"],
  [{ text_input: { a: 1 } }, "TENSOR_VALUE_INVALID"],
  [{ any: "x" }, "TENSOR_VALUE_INVALID"],
  [{ text_input: "a", parameters: { text_input: "b" } }, "INPUT_DUPLICATE"],
  [{ parameters: [] }, "REQUEST_MALFORMED"],
  [{ other: { a: 1 } }, "REQUEST_MALFORMED"],
  [{ other: [1] }, "REQUEST_MALFORMED"],
  [{ id: 1 }, "REQUEST_MALFORMED"],
] as const) {
  test(`refused: ${JSON.stringify(body)}`, (t) => {
    t.like(
      t.throws(() => decode(body)),
      { reason },
    );
  });
}
