import test from "ava";
import fc from "fast-check";
import type { GenerationParameters } from "../../server/generation/generation-parameters.ts";
import {
  createStepModelGenerator,
  type StepModelGeneratorOptions,
  type TextGenerator,
} from "../../server/generation/text-generator.ts";
import type { TextChunk } from "../../server/generation/text-stream.ts";
import { characterVocabulary } from "../../server/generation/vocabulary.ts";
import { continuation, recordingModel } from "../support/step-model.ts";
import { virtualClock } from "../support/virtual-clock.ts";

// Tokens 1 to 4; 0 begins and ends texts.
const characters = "abcd";
const tokensOf = (text: string): number[] => [
  0,
  ...Array.from(text, (each) => characters.indexOf(each) + 1),
];
const textOf = (tokens: readonly number[]): string =>
  tokens.map((token) => (token === 0 ? "" : characters[token - 1])).join("");

function generator(options: Partial<StepModelGeneratorOptions> = {}): TextGenerator {
  return createStepModelGenerator({
    model: recordingModel(3, 64),
    name: "m",
    vocabulary: characterVocabulary(characters),
    clock: virtualClock(),
    ...options,
  });
}

async function whole(
  chunks: AsyncIterable<TextChunk>,
): Promise<TextChunk & { readonly parts: string[] }> {
  const parts: string[] = [];
  const tokens: number[] = [];
  let last: TextChunk | undefined;
  for await (const chunk of chunks) {
    parts.push(chunk.text);
    tokens.push(...chunk.tokens);
    last = chunk;
  }
  return { ...last!, text: parts.join(""), tokens, parts };
}

const greedy = { temperature: 0 };

test("texts are those that the model gives, with tokens and usage, however many are generated at once", async (t) => {
  const model = generator();
  const prompts = ["a", "bc", "dddd", "abcdabcdabcd", ""];
  const texts = await Promise.all(
    prompts.map((prompt) => whole(model.generate(prompt, { ...greedy, max_tokens: 20 }))),
  );
  texts.forEach(({ text, tokens, finishReason, usage }, index) => {
    const prompt = tokensOf(prompts[index]!);
    const expected = continuation(prompt, 20);
    t.deepEqual(tokens, expected);
    t.is(text, textOf(expected));
    t.is(finishReason, expected.at(-1) === 0 ? "stop" : "length");
    t.deepEqual(usage, { promptTokens: prompt.length, generatedTokens: expected.length });
  });
  await model.close();
});

test("a text ends before the first stop string, wherever it begins, and no part of one is in a chunk", async (t) => {
  const model = generator();
  await fc.assert(
    fc.asyncProperty(
      fc.string({ unit: fc.constantFrom(...characters), maxLength: 6 }),
      fc.array(fc.string({ unit: fc.constantFrom(...characters), minLength: 1, maxLength: 3 }), {
        maxLength: 3,
      }),
      async (prompt, stop) => {
        const tokens = continuation(tokensOf(prompt), 24);
        const text = textOf(tokens);
        // The string that ends first counts, and of those that end there the longest.
        let cut = text.length;
        let stopped = false;
        for (let end = 1; end <= text.length && !stopped; end++) {
          const begins = stop
            .filter((each) => text.slice(0, end).endsWith(each))
            .map((each) => end - each.length);
          if (begins.length === 0) continue;
          stopped = true;
          cut = Math.min(...begins);
        }
        const given = await whole(model.generate(prompt, { ...greedy, max_tokens: 24, stop }));
        const ended = stopped || tokens.at(-1) === 0;
        return (
          given.text === text.slice(0, cut) && given.finishReason === (ended ? "stop" : "length")
        );
      },
    ),
    { numRuns: 200 },
  );
  await model.close();
  t.pass();
});

test("ignore_eos goes on after the end token, and the context bounds the text", async (t) => {
  const model = generator();
  const { tokens, finishReason, usage } = await whole(
    model.generate("a", { ...greedy, ignore_eos: true }),
  );
  t.is(finishReason, "length");
  // The last token is not computed, so it needs no room.
  t.is(tokens.length, 64 - 2 + 1);
  t.is(usage?.generatedTokens, tokens.length);
  await model.close();
});

test("a prompt may be tokens, and is checked", async (t) => {
  const model = generator();
  const { tokens } = await whole(model.generate([2, 1], { ...greedy, max_tokens: 3 }));
  t.deepEqual(tokens, continuation([2, 1], 3));
  const refused = (prompt: string | readonly number[], message: RegExp): void => {
    t.throws(() => model.generate(prompt), { message });
  };
  refused([], /got no tokens, expected at least one/);
  refused([1, 5], /got token 5, expected tokens from 0 to 4/);
  refused([0.5], /token 0.5/);
  refused("abz", /the character "z"/);
  refused("a".repeat(63), /got 64 tokens, expected at most 63/);
  t.throws(() => model.generate("a", { max_tokens: 0 } as GenerationParameters), {
    message: /max_tokens/,
  });
  await model.close();
});

test("a signal cancels: before it begins, while it waits, while it runs", async (t) => {
  const model = generator({ model: recordingModel(1, 64) });
  const before = await whole(model.generate("a", greedy, { signal: AbortSignal.abort() }));
  t.is(before.finishReason, "cancelled");
  t.is(before.usage?.generatedTokens, 0);
  const running = new AbortController();
  const waiting = new AbortController();
  const endless = { ...greedy, ignore_eos: true };
  const first = model.generate("a", endless, { signal: running.signal });
  const second = model.generate("b", endless, { signal: waiting.signal });
  await first.next();
  waiting.abort();
  const left = await whole(second);
  t.is(left.finishReason, "cancelled");
  t.deepEqual(left.tokens, []);
  running.abort();
  t.is((await whole(first)).finishReason, "cancelled");
  // The slot is free.
  t.is(
    (await whole(model.generate("c", { ...greedy, max_tokens: 1 }))).finishReason,
    continuation(tokensOf("c"), 1)[0] === 0 ? "stop" : "length",
  );
  await model.close();
});

test("a deadline fails the iteration, with what was generated before it first", async (t) => {
  const clock = virtualClock();
  const model = generator({ clock });
  const generation = model.generate("a", { ...greedy, ignore_eos: true }, { timeoutMs: 100 });
  await generation.next();
  clock.advance(100);
  await t.throwsAsync(whole(generation), { message: /deadline/ });
  await model.close();
});

test("more than may wait are refused at once, and nothing is taken after close", async (t) => {
  const model = generator({ model: recordingModel(1, 64), maxWaiting: 1 });
  const endless = { ...greedy, ignore_eos: true };
  const running = [model.generate("a", endless), model.generate("b", endless)];
  t.throws(() => model.generate("c", endless), {
    message: /1 generations wait, which is the limit/,
  });
  const ended = Promise.allSettled(running.map(whole));
  await model.close();
  for (const each of await ended)
    t.regex(String((each as PromiseRejectedResult).reason), /being unloaded/);
  t.throws(() => model.generate("a"), { message: /being unloaded/ });
});

test("release is called once, when no step is under way", async (t) => {
  let released = 0;
  const model = generator({
    release: async () => {
      released++;
    },
  });
  const generation = model.generate("a", { ...greedy, ignore_eos: true });
  await generation.next();
  const ended = t.throwsAsync(whole(generation));
  await Promise.all([model.close(), model.close()]);
  await ended;
  t.is(released, 1);
});

test("texts of one seed are equal, and of none differ", async (t) => {
  const model = generator();
  const drawn = async (seed?: number | bigint): Promise<string> =>
    (
      await whole(
        model.generate("a", {
          ...(seed !== undefined && { seed }),
          max_tokens: 40,
          ignore_eos: true,
        }),
      )
    ).text;
  t.is(await drawn(3), await drawn(3n));
  t.not(await drawn(), await drawn());
  await model.close();
});

test("logprobs name the texts of tokens", async (t) => {
  const model = generator();
  const { logprobs, tokens } = (
    await model.generate("a", { ...greedy, logprobs: 2, max_tokens: 1 }).next()
  ).value!;
  t.is(logprobs?.length, 1);
  t.is(logprobs![0]!.token, tokens[0]!);
  t.is(logprobs![0]!.text, textOf(tokens));
  t.is(logprobs![0]!.top.length, 2);
  // The likeliest comes first, and it was chosen.
  t.deepEqual(logprobs![0]!.top[0], {
    token: tokens[0]!,
    text: textOf(tokens),
    logprob: logprobs![0]!.logprob,
  });
  await model.close();
});
