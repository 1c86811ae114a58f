/** A source of numbers that a seed decides. */
export interface Random {
  /** A number of [0, 1), a multiple of 2^-32. */
  next(): number;
}

/**
 * Makes xoshiro128** (Blackman and Vigna, https://prng.di.unimi.it/xoshiro128starstar.c), whose state is
 * filled by splitmix64 from the seed. The same seed gives the same numbers on every machine and in every
 * version of this server.
 *
 * @param seed - an integer; its lowest 64 bits count
 */
export function createRandom(seed: bigint): Random {
  const state = splitmix64(seed);
  return xoshiro128(state[0]!, state[1]!, state[2]!, state[3]!);
}

/** xoshiro128** from a state of four 32-bit numbers that are not all 0. */
export function xoshiro128(a: number, b: number, c: number, d: number): Random {
  return {
    next() {
      const five = Math.imul(b, 5);
      const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0;
      const shifted = b << 9;
      c ^= a;
      d ^= b;
      b ^= c;
      a ^= d;
      c ^= shifted;
      d = (d << 11) | (d >>> 21);
      return result / 4294967296;
    },
  };
}

/** Two numbers of splitmix64, as four halves of 32 bits, the lower half of each first. */
function splitmix64(seed: bigint): number[] {
  let state = BigInt.asUintN(64, seed);
  const halves: number[] = [];
  while (halves.length < 4) {
    state = BigInt.asUintN(64, state + 0x9e3779b97f4a7c15n);
    let mixed = state;
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 30n)) * 0xbf58476d1ce4e5b9n);
    mixed = BigInt.asUintN(64, (mixed ^ (mixed >> 27n)) * 0x94d049bb133111ebn);
    mixed ^= mixed >> 31n;
    halves.push(Number(mixed & 0xffffffffn), Number(mixed >> 32n));
  }
  return halves;
}

/** Numbers of the standard normal distribution (Box and Muller 1958), made of those of `random`. */
export function createNormal(random: Random): () => number {
  return () => Math.sqrt(-2 * Math.log(1 - random.next())) * Math.cos(2 * Math.PI * random.next());
}
