import test from "ava";
import {
  checkParameters,
  generationParameterNames,
} from "../../server/generation/generation-parameters.ts";

const check = (given: object) => checkParameters(given as Record<string, unknown>, () => 77n);

test("what is left out or null has vLLM's defaults", (t) => {
  const expected = {
    maxTokens: Number.POSITIVE_INFINITY,
    temperature: 1,
    topP: 1,
    topK: 0,
    minP: 0,
    repetitionPenalty: 1,
    frequencyPenalty: 0,
    presencePenalty: 0,
    seed: 77n,
    stop: [],
    logprobs: undefined,
    ignoreEnd: false,
  };
  t.deepEqual(check({}), expected);
  t.deepEqual(
    check(Object.fromEntries(generationParameterNames.map((name) => [name, null]))),
    expected,
  );
});

test("values at the ends of their ranges are taken", (t) => {
  t.is(check({ temperature: 0 }).temperature, 0);
  t.is(check({ temperature: 2 }).temperature, 2);
  t.is(check({ top_p: 0 }).topP, 0);
  t.is(check({ top_k: -1 }).topK, 0);
  t.is(check({ top_k: 40 }).topK, 40);
  t.is(check({ min_p: 1 }).minP, 1);
  t.is(check({ repetition_penalty: 100 }).repetitionPenalty, 100);
  t.is(check({ frequency_penalty: -2 }).frequencyPenalty, -2);
  t.is(check({ max_tokens: 1 }).maxTokens, 1);
  t.is(check({ logprobs: 20 }).logprobs, 20);
  t.is(check({ seed: -(2n ** 63n) }).seed, -(2n ** 63n));
  t.is(check({ seed: 5 }).seed, 5n);
  t.deepEqual(check({ stop: "a" }).stop, ["a"]);
  t.deepEqual(check({ stop: ["a", "bc"] }).stop, ["a", "bc"]);
  t.true(check({ ignore_eos: true }).ignoreEnd);
});

for (const [given, message] of [
  [{ temperature: 2.1 }, /"temperature": got 2.1, expected a number from 0 to 2/],
  [{ temperature: Number.NaN }, /"temperature"/],
  [{ temperature: "1" }, /got "1"/],
  [{ top_p: -0.1 }, /"top_p"/],
  [{ top_k: 1.5 }, /"top_k": got 1.5, expected an integer of -1 or more/],
  [{ top_k: -2 }, /"top_k"/],
  [{ min_p: 2 }, /"min_p"/],
  [{ repetition_penalty: 0 }, /"repetition_penalty": got 0, expected a number above 0/],
  [{ repetition_penalty: 101 }, /"repetition_penalty"/],
  [{ presence_penalty: 3 }, /"presence_penalty"/],
  [{ max_tokens: 0 }, /"max_tokens": got 0, expected an integer of 1 or more/],
  [{ logprobs: 21 }, /"logprobs": got 21, expected an integer from 0 to 20/],
  [{ seed: 2n ** 63n }, /"seed"/],
  [{ seed: 0.5 }, /"seed"/],
  [{ stop: [""] }, /"stop"/],
  [{ stop: Array(17).fill("a") }, /got 17 strings, expected a string or up to 16/],
  [{ stop: "a".repeat(257) }, /"stop"/],
  [{ stop: { a: 1 } }, /"stop": got \{"a":1\}/],
  [{ ignore_eos: 1 }, /"ignore_eos"/],
  [{ max_token: 1 }, /"max_token": got a parameter of this name, expected one of max_tokens, /],
] as const) {
  test(`refused: ${JSON.stringify(given, (_, value) => (typeof value === "bigint" ? `${value}` : value)).slice(0, 60)}`, (t) => {
    t.throws(() => check(given), { message });
  });
}
