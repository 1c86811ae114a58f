import test from "ava";
import fc from "fast-check";
import { createRandom, xoshiro128 } from "../../server/random/random.ts";

/** xoshiro128starstar.c line by line, in integers that do not overflow. */
function reference(state: bigint[], count: number): bigint[] {
  const low = (x: bigint) => BigInt.asUintN(32, x);
  const rotl = (x: bigint, k: bigint) => low((x << k) | (x >> (32n - k)));
  return Array.from({ length: count }, () => {
    const result = low(rotl(low(state[1]! * 5n), 7n) * 9n);
    const shifted = low(state[1]! << 9n);
    state[2]! ^= state[0]!;
    state[3]! ^= state[1]!;
    state[1]! ^= state[2]!;
    state[0]! ^= state[3]!;
    state[2]! ^= shifted;
    state[3] = rotl(state[3]!, 11n);
    return result;
  });
}

test("xoshiro128 gives the numbers of the reference in C", (t) => {
  const word = fc.integer({ min: 1, max: 2 ** 32 - 1 });
  fc.assert(
    fc.property(fc.tuple(word, word, word, word), (state) => {
      const random = xoshiro128(...state);
      const given = Array.from({ length: 20 }, () => BigInt(random.next() * 2 ** 32));
      t.deepEqual(given, reference(state.map(BigInt), 20));
    }),
  );
});

test("the state comes from splitmix64, whose first numbers for the seed 1234567 are published", (t) => {
  // https://rosettacode.org/wiki/Pseudo-random_numbers/Splitmix64
  const [first, second] = [6457827717110365317n, 3203168211198807973n];
  const halves = [first & 0xffffffffn, first >> 32n, second & 0xffffffffn, second >> 32n];
  const random = createRandom(1234567n);
  const given = Array.from({ length: 5 }, () => BigInt(random.next() * 2 ** 32));
  t.deepEqual(given, reference(halves, 5));
});

test("a negative seed is another seed, and numbers lie below 1", (t) => {
  t.not(createRandom(-1n).next(), createRandom(1n).next());
  const random = createRandom(0n);
  for (let index = 0; index < 1000; index++) {
    const number = random.next();
    t.true(number >= 0 && number < 1);
  }
});
