import test from "ava";
import fc from "fast-check";
import {
  bf16ToNumber,
  fp16ToNumber,
  narrowToBf16,
  numberToBf16,
  numberToFp16,
  widenBf16,
} from "../../server/tensor/half.ts";

// Float16Array is V8's own conversion, written by others.
const half = new Float16Array(1);
const bits = new Uint16Array(half.buffer);

test("fp16ToNumber agrees with Float16Array on all 65 536 patterns", (t) => {
  let differing = 0;
  for (let pattern = 0; pattern <= 0xffff; pattern++) {
    bits[0] = pattern;
    if (!Object.is(fp16ToNumber(pattern), half[0])) differing++;
  }
  t.is(differing, 0);
});

test("numberToFp16 rounds as Float16Array does", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(
        fc.oneof(
          fc.float(),
          fc.double(),
          fc.double({ min: -70000, max: 70000 }),
          fc.double({ min: -1e-4, max: 1e-4 }),
        ),
        (value) => {
          half[0] = value;
          const expected = Number.isNaN(value) ? 0x7e00 : bits[0]!;
          return numberToFp16(value) === expected;
        },
      ),
      { numRuns: 20_000 },
    ),
  );
});

test("numberToFp16 gives back every pattern that is not a NaN", (t) => {
  let differing = 0;
  for (let pattern = 0; pattern <= 0xffff; pattern++) {
    const value = fp16ToNumber(pattern);
    if (!Number.isNaN(value) && numberToFp16(value) !== pattern) differing++;
  }
  t.is(differing, 0);
});

test("bfloat16 is the upper half of a 32-bit float", (t) => {
  const float = new Float32Array(1);
  const upper = new Uint16Array(float.buffer);
  let differing = 0;
  for (let pattern = 0; pattern <= 0xffff; pattern++) {
    upper[0] = 0;
    upper[1] = pattern;
    if (!Object.is(bf16ToNumber(pattern), float[0])) differing++;
    if (!Number.isNaN(float[0]) && numberToBf16(float[0]!) !== pattern) differing++;
  }
  t.is(differing, 0);
});

test("numberToBf16 rounds ties to even", (t) => {
  // 1 + 2^-8 lies midway between 1 (0x3f80) and 1 + 2^-7 (0x3f81); 1 + 3 * 2^-8 between 0x3f81 and 0x3f82.
  t.is(numberToBf16(1 + 2 ** -8), 0x3f80);
  t.is(numberToBf16(1 + 3 * 2 ** -8), 0x3f82);
  t.is(numberToBf16(1 + 2 ** -8 + 2 ** -20), 0x3f81);
  t.is(numberToBf16(Number.NaN), 0x7fc0);
  t.is(numberToBf16(3.4e38), 0x7f80);
});

test("widenBf16 and narrowToBf16 are inverse, also off a 2-byte boundary", (t) => {
  t.notThrows(() =>
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (given) => {
        const even = given.subarray(0, given.length & ~1);
        const shifted = new Uint8Array(even.length + 1);
        shifted.set(even, 1);
        const values = widenBf16(shifted.subarray(1));
        if (values.some(Number.isNaN)) return true;
        return Buffer.from(narrowToBf16(values)).equals(Buffer.from(even));
      }),
    ),
  );
});
