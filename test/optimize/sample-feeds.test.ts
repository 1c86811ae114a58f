import test from "ava";
import { Tensor } from "onnxruntime-node";
import type { RuntimePort } from "../../server/optimize/runtime.ts";
import { generateFeeds, repeatRows, takesRows } from "../../server/optimize/sample-feeds.ts";

const options = { seed: 7, rows: 3, shapes: new Map(), integersBelow: 5 };
const types = [
  "float32",
  "float64",
  "float16",
  "int64",
  "uint64",
  "int32",
  "uint32",
  "int16",
  "uint16",
  "int8",
  "uint8",
  "bool",
];
const ports = types.map((type): RuntimePort => ({ name: type, type, shape: [-1, 4] }));

test("every type of tensor gets values of its type, and integers below the bound", (t) => {
  const feeds = generateFeeds("m", ports, options);
  t.deepEqual(Object.keys(feeds), types);
  for (const [name, { type, dims, data }] of Object.entries(feeds)) {
    t.is(String(type), name);
    t.deepEqual(dims, [3, 4]);
    t.is(data.length, 12);
    const limit = name === "bool" ? 1 : 4;
    if (!name.startsWith("float"))
      t.true(Array.from(data as Uint8Array, Number).every((value) => value >= 0 && value <= limit));
  }
});

test("the seed decides the values", (t) => {
  const values = (seed: number): readonly number[] =>
    Array.from(generateFeeds("m", ports, { ...options, seed }).float32!.data as Float32Array);
  t.deepEqual(values(7), values(7));
  t.notDeepEqual(values(7), values(8));
});

test("floats follow the standard normal distribution", (t) => {
  const port = { name: "x", type: "float32", shape: [20_000] };
  const { data } = generateFeeds("m", [port], options).x!;
  const values = Array.from(data as Float32Array);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  // Five standard errors of either.
  t.true(Math.abs(mean) < 5 / Math.sqrt(20_000));
  t.true(Math.abs(variance - 1) < 5 * Math.sqrt(2 / 20_000));
});

test("open dimensions besides the first are 1, or as they are given", (t) => {
  const port = { name: "x", type: "float32", shape: [-1, 3, -1, -1] };
  t.deepEqual(generateFeeds("m", [port], options).x!.dims, [3, 3, 1, 1]);
  const shapes = new Map([["x", [1, 3, 8, 9]]]);
  t.deepEqual(generateFeeds("m", [port], { ...options, shapes }).x!.dims, [3, 3, 8, 9]);
});

test("an input of strings is refused with what to do", (t) => {
  t.throws(() => generateFeeds("m", [{ name: "text", type: "string", shape: [1] }], options), {
    message:
      /no values can be made up for input "text" of type string; give some with --input text=@FILE/,
  });
});

test("repeatRows takes rows over and over", (t) => {
  const feeds = {
    x: new Tensor("float32", Float32Array.of(1, 2, 3, 4), [2, 2]),
    text: new Tensor("string", ["a", "b"], [2]),
  };
  const { x, text } = repeatRows(feeds, 3);
  t.deepEqual([...(x!.data as Float32Array)], [1, 2, 3, 4, 1, 2]);
  t.deepEqual(x!.dims, [3, 2]);
  t.deepEqual(text!.data, ["a", "b", "a"]);
  t.deepEqual([...(repeatRows(feeds, 1).x!.data as Float32Array)], [1, 2]);
});

test("a model takes rows if the first dimension of every input is open", (t) => {
  const open = { name: "x", type: "float32", shape: [-1, 4] };
  t.true(takesRows([open, open]));
  t.false(takesRows([open, { ...open, shape: [1, 4] }]));
  t.false(takesRows([open, { ...open, shape: [] }]));
  t.false(takesRows([]));
});
