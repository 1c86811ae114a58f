import test from "ava";
import fc from "fast-check";
import { InferenceError } from "../../../clients/typescript/src/inference-error.ts";
import { tensor } from "../../../clients/typescript/src/tensor.ts";
import type { TensorData } from "../../../clients/typescript/src/tensor-data.ts";
import type { TypedTensor } from "../../../clients/typescript/src/typed-tensor.ts";
import type { Datatype } from "../../../server/tensor/datatype.ts";

const inferred: readonly (readonly [TensorData, Exclude<Datatype, "BF16">])[] = [
  [Float32Array.of(1), "FP32"],
  [Float64Array.of(1), "FP64"],
  [Int8Array.of(1), "INT8"],
  [Int16Array.of(1), "INT16"],
  [Int32Array.of(1), "INT32"],
  [BigInt64Array.of(1n), "INT64"],
  [Uint8Array.of(1), "UINT8"],
  [Uint8ClampedArray.of(1), "UINT8"],
  [Buffer.from([1]), "UINT8"],
  [Uint16Array.of(1), "UINT16"],
  [Uint32Array.of(1), "UINT32"],
  [BigUint64Array.of(1n), "UINT64"],
  [Float16Array.of(1), "FP16"],
  [[1], "FP32"],
  [[1n], "INT64"],
  [[true], "BOOL"],
  [["a"], "BYTES"],
  [[Uint8Array.of(1)], "BYTES"],
];

for (const [data, datatype] of inferred) {
  test(`tensor takes ${data.constructor.name} of ${typeof data[0]} as ${datatype}`, (t) => {
    t.is(tensor([1], data).datatype, datatype);
  });
}

test("tensor types its data by the kind of data that it is given", (t) => {
  // The annotations are the test: they do not compile if the inferred type is another.
  const floats: Float32Array = tensor([1], [1]).data;
  const doubles: Float64Array = tensor([1], Float64Array.of(1)).data;
  const integers: BigInt64Array = tensor([1], [1n]).data;
  const flags: Uint8Array = tensor([1], [true]).data;
  const text: readonly string[] = tensor([1], ["a"]).strings();
  const halves: Uint16Array = tensor([1], [1], "FP16").data;
  t.deepEqual(
    [floats[0], doubles[0], integers[0], flags[0], text[0], halves[0]],
    [1, 1, 1n, 1, "a", 0x3c00],
  );
});

test("a datatype narrows a tensor to its typed array", (t) => {
  const any: TypedTensor = tensor([2], [1.5, 2]);
  if (any.datatype !== "FP32") return t.fail();
  const data: Float32Array = any.data;
  t.deepEqual(data, Float32Array.of(1.5, 2));
});

test("tensor views a typed array of its own datatype and copies any other", (t) => {
  const floats = Float32Array.of(1, 2);
  t.is(tensor([2], floats).data, floats);
  t.not(tensor([2], floats, "FP64").data.buffer as unknown, floats.buffer);
  const halves = Float16Array.of(1.5);
  t.is(tensor([1], halves).data.buffer, halves.buffer);
  t.deepEqual(tensor([1], halves).toArray(), [1.5]);
});

test("tensor takes a Uint16Array as the bit patterns of FP16 and BF16", (t) => {
  t.deepEqual(tensor([1], Uint16Array.of(0x3c00), "FP16").toArray(), [1]);
  t.deepEqual(tensor([1], Uint16Array.of(0x3f80), "BF16").toArray(), [1]);
});

test("tensor keeps its shape when the caller changes the array", (t) => {
  const shape = [2];
  const made = tensor(shape, [1, 2]);
  shape[0] = 3;
  t.deepEqual(made.shape, [2]);
});

const conversions: readonly (readonly [Datatype, TensorData, readonly unknown[]])[] = [
  ["BOOL", [true, false], [true, false]],
  ["BOOL", [1, 0], [true, false]],
  ["INT8", [-128, 127], [-128, 127]],
  ["UINT8", [0, 255], [0, 255]],
  ["INT16", [-32768, 32767], [-32768, 32767]],
  ["UINT16", [0, 65535], [0, 65535]],
  ["INT32", [-(2 ** 31), 2 ** 31 - 1], [-(2 ** 31), 2 ** 31 - 1]],
  ["UINT32", [0, 2 ** 32 - 1], [0, 2 ** 32 - 1]],
  ["INT64", [-1, 2 ** 53 - 1], [-1n, 2n ** 53n - 1n]],
  ["INT64", [-(2n ** 63n), 2n ** 63n - 1n], [-(2n ** 63n), 2n ** 63n - 1n]],
  ["UINT64", [0n, 2n ** 64n - 1n], [0n, 2n ** 64n - 1n]],
  ["INT32", [5n], [5]],
  ["FP16", [65504, -0.5, Number.POSITIVE_INFINITY], [65504, -0.5, Number.POSITIVE_INFINITY]],
  ["BF16", [1.5, Number.NEGATIVE_INFINITY], [1.5, Number.NEGATIVE_INFINITY]],
  ["FP32", [0.1, Number.NaN], [Math.fround(0.1), Number.NaN]],
  ["FP64", [2n], [2]],
  ["INT16", Float64Array.of(3, -4), [3, -4]],
  ["BYTES", ["é", Uint8Array.of(0x61)], ["é", "a"]],
];

for (const [datatype, data, expected] of conversions) {
  test(`tensor converts ${JSON.stringify(Array.from(data, String))} to ${datatype}`, (t) => {
    t.deepEqual(tensor([expected.length], data, datatype).toArray(), expected as never);
  });
}

const refused: readonly (readonly [Datatype, TensorData, RegExp])[] = [
  ["BOOL", [2], /element 0: got 2, expected BOOL, true or false/],
  ["INT8", [1, 128], /element 1: got 128, expected INT8, an integer from -128 to 127/],
  ["INT8", [-129], /got -129/],
  ["UINT8", [-1], /got -1/],
  ["UINT32", [2 ** 32], /got 4294967296/],
  ["INT32", [0.5], /got 0.5/],
  ["INT32", [Number.NaN], /got NaN/],
  ["INT64", [2 ** 53], /got 9007199254740992, .*as a bigint/],
  ["INT64", [2n ** 63n], /got 9223372036854775808n/],
  ["UINT64", [-1n], /got -1n/],
  ["FP16", [65520], /got 65520, expected FP16, a number of at most 65504 in size/],
  ["BF16", [3.4e38], /got 3.4e\+38/],
  ["FP32", [1e39], /got 1e\+39/],
  ["FP32", ["1"], /got "1"/],
  ["INT8", [true], /got true/],
  ["BYTES", [1], /got 1, expected BYTES, a string or a Uint8Array/],
];

for (const [datatype, data, message] of refused) {
  test(`tensor refuses ${JSON.stringify(Array.from(data, String))} as ${datatype}`, (t) => {
    t.like(
      t.throws(() => tensor([data.length], data, datatype), { message }),
      {
        name: "InferenceError",
        code: "INVALID_ARGUMENT",
        reason: "TENSOR_VALUE_INVALID",
      },
    );
  });
}

test("tensor refuses data whose length is not the product of the shape", (t) => {
  const error = t.throws(() => tensor([2, 2], [1, 2, 3]), { instanceOf: InferenceError });
  t.is(error?.reason, "TENSOR_ELEMENTS_MISMATCH");
  t.regex(error?.message ?? "", /got 3 elements, expected 4/);
});

test("tensor refuses impossible shapes and datatypes", (t) => {
  for (const shape of [[-1], [1.5], [2 ** 30, 2 ** 30]]) {
    t.is(t.throws<InferenceError>(() => tensor(shape, []))?.reason, "SHAPE_INVALID");
  }
  const error = t.throws<InferenceError>(() => tensor([1], [1], "FLOAT" as "FP32"));
  t.is(error?.reason, "DATATYPE_UNKNOWN");
});

test("tensor takes zero elements and scalars", (t) => {
  t.is(tensor([0, 4], []).data.length, 0);
  t.deepEqual(tensor([0, 4], []).toNested(), []);
  t.deepEqual(tensor([2, 0], []).toNested(), [[], []]);
  t.is(tensor([], [7]).toNested(), 7);
});

test("toNested folds elements as the shape says", (t) => {
  t.deepEqual(tensor([2, 3], [1, 2, 3, 4, 5, 6]).toNested(), [
    [1, 2, 3],
    [4, 5, 6],
  ]);
  t.deepEqual(tensor([1, 2], ["a", "b"]).toNested(), [["a", "b"]]);
  t.deepEqual(tensor([2, 1], [true, false]).toNested(), [[true], [false]]);
});

test("FP16 and BF16 round to the nearest value, as Float16Array does", (t) => {
  fc.assert(
    fc.property(fc.array(fc.double({ min: -65504, max: 65504, noNaN: true })), (values) => {
      const { data } = tensor([values.length], values, "FP16");
      const native = Float16Array.from(values);
      t.deepEqual(data, new Uint16Array(native.buffer));
    }),
  );
});

test("strings survive the way to bytes and back", (t) => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme" })), (values) => {
      t.deepEqual(tensor([values.length], values, "BYTES").toArray(), values);
    }),
  );
});
