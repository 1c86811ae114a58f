import test from "ava";
import fc from "fast-check";
import {
  checkParameters,
  type GenerationParameters,
} from "../../server/generation/generation-parameters.ts";
import { Sampler, samplingState } from "../../server/generation/sampler.ts";

const logs = (...probabilities: readonly number[]) => Float32Array.from(probabilities, Math.log);

function tokens(
  logits: Float32Array,
  parameters: GenerationParameters,
  count: number,
  prompt: readonly number[] = [],
): number[] {
  const sampler = new Sampler(logits.length);
  const state = samplingState(
    checkParameters(parameters, () => 1n),
    prompt,
  );
  return Array.from({ length: count }, () => sampler.choose(logits, state).token);
}

function shares(logits: Float32Array, parameters: GenerationParameters): number[] {
  const count = 20_000;
  const drawn = tokens(logits, { seed: 11, ...parameters }, count);
  return Array.from(logits, (_, token) => drawn.filter((each) => each === token).length / count);
}

/** Drawn shares lie within five standard deviations of what they are to be. */
const near =
  (expected: readonly number[]) =>
  (given: readonly number[]): boolean =>
    given.every((share, token) => {
      const p = expected[token]!;
      return Math.abs(share - p) <= 5 * Math.sqrt((p * (1 - p)) / 20_000);
    });

const logits = logs(0.1, 0.5, 0.15, 0.25);

for (const [title, parameters, expected] of [
  ["temperature 1 draws by the model's probabilities", {}, [0.1, 0.5, 0.15, 0.25]],
  // Squares of the probabilities, 0.01 0.25 0.0225 0.0625, over their sum 0.345.
  [
    "temperature 0.5 squares probabilities",
    { temperature: 0.5 },
    [0.01 / 0.345, 0.25 / 0.345, 0.0225 / 0.345, 0.0625 / 0.345],
  ],
  ["top_k 2 leaves the two likeliest", { top_k: 2 }, [0, 2 / 3, 0, 1 / 3]],
  ["top_k above the vocabulary leaves all", { top_k: 9 }, [0.1, 0.5, 0.15, 0.25]],
  ["top_k -1 leaves all, as for vLLM", { top_k: -1 }, [0.1, 0.5, 0.15, 0.25]],
  // 0.5 + 0.25 < 0.8, so the third is in it: over 0.9.
  ["top_p 0.8 leaves what makes up 0.8", { top_p: 0.8 }, [0, 5 / 9, 1.5 / 9, 2.5 / 9]],
  ["top_p 0.4 leaves one", { top_p: 0.4 }, [0, 1, 0, 0]],
  ["top_p 0 leaves one", { top_p: 0 }, [0, 1, 0, 0]],
  // 0.5 / 0.75 < 0.7 of the two that top_k leaves.
  ["top_p counts within top_k", { top_k: 2, top_p: 0.6 }, [0, 1, 0, 0]],
  ["top_p counts within top_k", { top_k: 2, top_p: 0.7 }, [0, 2 / 3, 0, 1 / 3]],
  // 0.3 of 0.5 is 0.15, which a token of 0.15 may miss by rounding: 0.29 leaves three.
  ["min_p is a share of the likeliest", { min_p: 0.29 }, [0, 5 / 9, 1.5 / 9, 2.5 / 9]],
  ["temperature 0 takes the likeliest", { temperature: 0 }, [0, 1, 0, 0]],
] as const satisfies readonly (readonly [string, GenerationParameters, readonly number[]])[]) {
  test(`${title} ${JSON.stringify(parameters)}`, (t) => {
    const given = shares(logits, parameters);
    t.true(near(expected)(given), `${given} is not near ${expected}`);
  });
}

test("equal logits are ranked by token", (t) => {
  t.deepEqual(tokens(logs(0.2, 0.4, 0.4), { temperature: 0 }, 1), [1]);
  const drawn = tokens(logs(0.25, 0.25, 0.25, 0.25), { top_k: 2, seed: 3 }, 200);
  t.deepEqual([...new Set(drawn)].sort(), [0, 1]);
});

test("a temperature near 0 makes no infinities", (t) => {
  const far = Float32Array.of(-1e30, 900, 1000, -1000);
  t.deepEqual(tokens(far, { temperature: 1e-300 }, 3), [2, 2, 2]);
});

test("the same seed gives the same tokens, and another one others", (t) => {
  const drawn = (seed: number | bigint) => tokens(logits, { seed }, 64);
  t.deepEqual(drawn(5), drawn(5));
  t.deepEqual(drawn(5), drawn(5n));
  t.notDeepEqual(drawn(5), drawn(6));
});

test("one sampler serves generations that take turns as it serves each alone", (t) => {
  const sampler = new Sampler(4);
  const start = (seed: number) =>
    samplingState(
      checkParameters({ seed, frequency_penalty: 0.5 }, () => 0n),
      [],
    );
  const states = [start(1), start(2)];
  const together: number[][] = [[], []];
  for (let index = 0; index < 50; index++) {
    together[index % 2]!.push(sampler.choose(logits, states[index % 2]!).token);
  }
  for (const [index, seed] of [1, 2].entries()) {
    t.deepEqual(together[index], tokens(logits, { seed, frequency_penalty: 0.5 }, 25));
  }
});

test("penalties change logits as OpenAI and CTRL define them", (t) => {
  const greedy = { temperature: 0 };
  // 2.0 - 0.75 is below 1.5 after one, and 1.5 - 0.75 below 2.0 - 0.75 after another.
  const two = Float32Array.of(2, 1.5, -10);
  t.deepEqual(tokens(two, { ...greedy, frequency_penalty: 0.75 }, 4), [0, 1, 0, 1]);
  t.deepEqual(tokens(two, { ...greedy, presence_penalty: 0.75 }, 4), [0, 1, 0, 0]);
  // Tokens of the prompt count: 2.0 / 1.5 is below 1.5. Below 0 it is multiplied.
  t.deepEqual(tokens(two, { ...greedy, repetition_penalty: 1.5 }, 1, [0]), [1]);
  const below = Float32Array.of(-1, -1.4);
  t.deepEqual(tokens(below, { ...greedy, repetition_penalty: 1.5 }, 1, [0]), [1]);
});

test("logprobs are the model's own, whatever the parameters", (t) => {
  const sampler = new Sampler(4);
  const parameters = { logprobs: 2, temperature: 0.1, top_k: 1, presence_penalty: 1 };
  const state = samplingState(
    checkParameters(parameters, () => 0n),
    [],
  );
  const { token, logprob, top } = sampler.choose(logits, state);
  t.is(token, 1);
  t.is(logprob!.toFixed(5), Math.log(0.5).toFixed(5));
  t.deepEqual(
    top.map((each) => [each.token, each.logprob.toFixed(5)]),
    [
      [1, Math.log(0.5).toFixed(5)],
      [3, Math.log(0.25).toFixed(5)],
    ],
  );
});

test("logits that are none are refused", (t) => {
  const sampler = new Sampler(2);
  const state = samplingState(
    checkParameters({}, () => 0n),
    [],
  );
  t.throws(() => sampler.choose(Float32Array.of(1), state), { instanceOf: RangeError });
  t.throws(() => sampler.choose(Float32Array.of(1, Number.NaN), state), { message: /token 1/ });
  t.throws(() => sampler.choose(Float32Array.of(1, Infinity), state), { message: /token 1/ });
});

/** What may be drawn, by its definition: a full sort in double precision. */
function allowed(given: Float32Array, { temperature, top_k, top_p }: Required<Cut>): Set<number> {
  const best = Math.max(...given);
  const weights = Array.from(given, (logit) => Math.exp((logit - best) / temperature));
  let ranked = Array.from(given.keys()).sort((a, b) => weights[b]! - weights[a]! || a - b);
  if (top_k > 0) ranked = ranked.slice(0, top_k);
  const total = ranked.reduce((sum, token) => sum + weights[token]!, 0);
  let sum = 0;
  const kept = new Set<number>();
  for (const token of ranked) {
    // With room for sums in another order.
    if (sum < top_p * total + 1e-9 * total) kept.add(token);
    sum += weights[token]!;
  }
  return kept;
}

interface Cut {
  readonly temperature: number;
  readonly top_k: number;
  readonly top_p: number;
}

test("nothing is drawn that top_k and top_p leave out", (t) => {
  fc.assert(
    fc.property(
      fc.array(fc.float({ min: -8, max: 8, noNaN: true }), { minLength: 1, maxLength: 40 }),
      fc.record({
        temperature: fc.double({ min: 0.05, max: 2, noNaN: true }),
        top_k: fc.nat({ max: 45 }),
        top_p: fc.double({ min: 0, max: 1, noNaN: true }),
      }),
      fc.nat(),
      (given, cut, seed) => {
        const array = Float32Array.from(given);
        const kept = allowed(array, cut);
        t.true(tokens(array, { ...cut, seed }, 30).every((token) => kept.has(token)));
      },
    ),
  );
});
