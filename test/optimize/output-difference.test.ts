import test from "ava";
import { Tensor } from "onnxruntime-node";
import {
  OutputComparison,
  type OutputDifference,
} from "../../server/optimize/output-difference.ts";

function compared(...pairs: readonly (readonly [Tensor, Tensor])[]): OutputDifference {
  const comparison = new OutputComparison("y");
  for (const [original, other] of pairs) comparison.add(original, other);
  return comparison.result();
}

const floats = (...values: number[]): Tensor =>
  new Tensor("float32", Float32Array.from(values), [values.length]);

test("the relative difference is the largest difference by the largest magnitude, over all runs", (t) => {
  t.deepEqual(compared([floats(1, -8), floats(1.5, -8)], [floats(2, 0), floats(2, 0.25)]), {
    output: "y",
    elements: 4,
    absolute: 0.5,
    relative: 0.0625,
  });
});

test("equal outputs differ by nothing, infinities, NaN and zeros among them", (t) => {
  const values = [0, Number.NaN, Number.POSITIVE_INFINITY, -3];
  const { absolute, relative } = compared([floats(...values), floats(...values)]);
  t.deepEqual([absolute, relative], [0, 0]);
});

test("0 and -0 are equal", (t) => {
  t.is(compared([floats(0), floats(-0)]).relative, 0);
});

for (const [title, original, other] of [
  ["a number became NaN", floats(1), floats(Number.NaN)],
  ["a number became infinite", floats(1), floats(Number.POSITIVE_INFINITY)],
  ["infinity changed its sign", floats(Number.POSITIVE_INFINITY), floats(Number.NEGATIVE_INFINITY)],
  ["zeros became something", floats(0, 0), floats(0, 1e-3)],
  ["the shape is another", floats(1, 2), new Tensor("float32", Float32Array.of(1, 2), [1, 2])],
  ["the type is another", floats(1), new Tensor("float64", Float64Array.of(1), [1])],
] as const) {
  test(`${title}: the relative difference is infinite`, (t) => {
    t.is(compared([original, other]).relative, Number.POSITIVE_INFINITY);
  });
}

test("of integers, truths and strings the share of unequal elements counts", (t) => {
  const longs = (...values: bigint[]): Tensor =>
    new Tensor("int64", BigInt64Array.from(values), [values.length]);
  t.deepEqual(compared([longs(1n, 2n, 3n, 4n), longs(1n, 2n, 7n, 4n)]), {
    output: "y",
    elements: 4,
    absolute: 4,
    relative: 0.25,
  });
  const texts = (...values: string[]): Tensor => new Tensor("string", values, [values.length]);
  t.is(compared([texts("a", "b"), texts("a", "c")]).relative, 0.5);
});

test("16-bit floats are compared by their values", (t) => {
  const halves = (...patterns: number[]): Tensor =>
    new Tensor("float16", Uint16Array.from(patterns), [patterns.length]);
  // 1 and 1.5 of 2.
  t.deepEqual(compared([halves(0x3c00, 0x4000), halves(0x3e00, 0x4000)]), {
    output: "y",
    elements: 2,
    absolute: 0.5,
    relative: 0.25,
  });
});

test("an empty output differs by nothing", (t) => {
  t.deepEqual(compared([floats(), floats()]), {
    output: "y",
    elements: 0,
    absolute: 0,
    relative: 0,
  });
});
