import test from "ava";
import fc from "fast-check";
import {
  allFinite,
  maxCode,
  quantizeWeights,
  toUnsigned,
  transposed,
} from "../../server/optimize/quantized-weights.ts";

test("each column has its own scale, a 127th of its largest magnitude", (t) => {
  // Columns (127, -63.5, 1) and (0.254, 0.1, -0.254).
  const weights = Float32Array.of(127, 0.254, -63.5, 0.1, 1, -0.254);
  const { codes, scales } = quantizeWeights(weights, 2, "last");
  t.deepEqual([...scales], [1, Math.fround(0.254 / 127)]);
  // -63.5 lies between two codes; either is half a step away.
  t.deepEqual([...codes], [127, 127, -63, 50, 1, -127]);
});

test("each row has its own scale where the first axis tells the channels apart", (t) => {
  const { codes, scales } = quantizeWeights(
    Float32Array.of(254, -2, 0, 12.7, 0.1, 6.3),
    2,
    "first",
  );
  t.deepEqual([...scales], [2, Math.fround(Math.fround(12.7) / 127)]);
  t.deepEqual([...codes], [127, -1, 0, 127, 1, 63]);
});

test("a channel of zeros has codes of zero and a scale that can be divided by", (t) => {
  const { codes, scales } = quantizeWeights(Float32Array.of(0, 0, -0), 1, "first");
  t.deepEqual([...codes], [0, 0, 0]);
  t.deepEqual([...scales], [1]);
});

test("no weight is further from what its code stands for than half a step", (t) => {
  fc.assert(
    fc.property(
      fc
        .record({ rows: fc.integer({ min: 1, max: 12 }), columns: fc.integer({ min: 1, max: 12 }) })
        .chain(({ rows, columns }) =>
          fc.record({
            columns: fc.constant(columns),
            weights: fc.float32Array({
              minLength: rows * columns,
              maxLength: rows * columns,
              noNaN: true,
              noDefaultInfinity: true,
            }),
            axis: fc.constantFrom("first", "last"),
          }),
        ),
      ({ columns, weights, axis }) => {
        const channels = axis === "last" ? columns : weights.length / columns;
        const { codes, scales } = quantizeWeights(weights, channels, axis);
        for (const [index, weight] of weights.entries()) {
          const channel = axis === "last" ? index % columns : Math.floor(index / columns);
          const code = codes[index]!;
          const scale = scales[channel]!;
          t.true(Math.abs(code) <= maxCode);
          // The scale is rounded to 32 bits, which the largest weights see as 127 roundings of it.
          t.true(Math.abs(code * scale - weight) <= scale * (0.5 + 1e-5), `${weight} by ${scale}`);
        }
      },
    ),
  );
});

test("transposed swaps rows and columns", (t) => {
  t.deepEqual([...transposed(Int8Array.of(1, 2, 3, 4, 5, 6), 2, 3)], [1, 4, 2, 5, 3, 6]);
});

test("toUnsigned moves 0 to 128", (t) => {
  t.deepEqual([...toUnsigned(Int8Array.of(-127, 0, 127))], [1, 128, 255]);
});

test("allFinite finds what is no number", (t) => {
  t.true(allFinite(Float32Array.of(1, -3e38)));
  t.false(allFinite(Float32Array.of(1, Number.NaN)));
  t.false(allFinite(Float32Array.of(Number.NEGATIVE_INFINITY)));
});
