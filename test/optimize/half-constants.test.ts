import test from "ava";
import fc from "fast-check";
import { halfFit, largestFinite, toHalf } from "../../server/optimize/half-constants.ts";

/** Every finite 16-bit float from 0, by its pattern: 31 exponents of 1024 steps (IEEE 754, 3.4). */
const halves = Float64Array.from({ length: 31 * 1024 }, (_, pattern) => {
  const exponent = pattern >> 10;
  const step = 2 ** (Math.max(exponent, 1) - 25);
  return ((pattern & 1023) + (exponent > 0 ? 1024 : 0)) * step;
});

/** The nearest by search: of two that are as near, the even pattern; beyond the last, infinity. */
function nearest(value: number): number {
  const magnitude = Math.abs(value);
  const sign = Object.is(Math.sign(value), -0) || value < 0 ? 0x8000 : 0;
  let low = 0;
  let high = halves.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (halves[middle]! <= magnitude) low = middle;
    else high = middle;
  }
  // The step after the last would be 2^16, which stands for infinity.
  const below = magnitude - halves[low]!;
  const above = (low + 1 < halves.length ? halves[low + 1]! : 2 ** 16) - magnitude;
  const pattern = below < above || (below === above && low % 2 === 0) ? low : low + 1;
  return sign | pattern;
}

test("toHalf gives the nearest 16-bit float, ties to even", (t) => {
  const vectors: readonly [number, number][] = [
    [0, 0x0000],
    [-0, 0x8000],
    [1, 0x3c00],
    [-2, 0xc000],
    [65504, 0x7bff],
    [65519.99, 0x7bff],
    [65520, 0x7c00],
    [1 + 2 ** -11, 0x3c00],
    [1 + 3 * 2 ** -11, 0x3c02],
    [2 ** -14, 0x0400],
    [2 ** -24, 0x0001],
    [2 ** -25, 0x0000],
    [3 * 2 ** -25, 0x0002],
    [Number.POSITIVE_INFINITY, 0x7c00],
    [Number.NEGATIVE_INFINITY, 0xfc00],
  ];
  for (const [value, pattern] of vectors)
    t.is(toHalf(Float32Array.of(value))[0], pattern, `${value}`);
  t.is(toHalf(Float32Array.of(Number.NaN))[0]! & 0x7c00, 0x7c00);
});

test("toHalf agrees with a search among all 16-bit floats", (t) => {
  const nearRange = fc
    .record({
      fraction: fc.double({ min: -1, max: 1, noNaN: true }),
      power: fc.integer({ min: -26, max: 17 }),
    })
    .map(({ fraction, power }) => fraction * 2 ** power);
  // Halfway between two neighbours, where rounding is decided.
  const ties = fc
    .record({ pattern: fc.nat({ max: halves.length - 2 }), sign: fc.constantFrom(-1, 1) })
    .map(({ pattern, sign }) => (sign * (halves[pattern]! + halves[pattern + 1]!)) / 2);
  fc.assert(
    fc.property(fc.oneof(nearRange, ties, fc.float({ noNaN: true })), (given) => {
      const value = Math.fround(given);
      t.is(toHalf(Float32Array.of(value))[0], nearest(value), `${value}`);
    }),
    { numRuns: 2000 },
  );
});

test("halfFit refuses what 16 bits cannot stand for", (t) => {
  t.is(halfFit(Float32Array.of(1, -65504)), "fits");
  t.is(halfFit(Float32Array.of(1, -65505)), "too large");
  t.is(halfFit(Float32Array.of(1e-12)), "too small");
  t.is(halfFit(Float32Array.of(2 ** -14, 1e-12)), "fits");
  t.is(halfFit(Float32Array.of(0, -0)), "fits");
  t.is(halfFit(Float32Array.of(Number.NEGATIVE_INFINITY, Number.NaN, 0)), "fits");
});

test("largestFinite passes over what is no number", (t) => {
  t.is(largestFinite(Float32Array.of(-3, Number.NaN, Number.POSITIVE_INFINITY, 2)), 3);
  t.is(largestFinite(new Float32Array()), 0);
});
