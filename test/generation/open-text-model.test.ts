import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { openTextModel, type TextModelOptions } from "../../server/generation/open-text-model.ts";
import type { TextGenerator } from "../../server/generation/text-generator.ts";
import type { TextChunk } from "../../server/generation/text-stream.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectedTexts, textModelFolder } from "../support/text-model.ts";

const files = {
  graph: join(textModelFolder, "opticks/1/opticks.onnx"),
  vocabulary: join(textModelFolder, "opticks/1/opticks.json"),
};

async function open(
  t: ExecutionContext,
  options: Partial<TextModelOptions> = {},
): Promise<TextGenerator> {
  const model = await openTextModel({ ...files, ...options });
  t.teardown(() => model.close());
  return model;
}

async function text(chunks: AsyncIterable<TextChunk>): Promise<string> {
  let given = "";
  for await (const chunk of chunks) given += chunk.text;
  return given;
}

const greedy = { temperature: 0, max_tokens: 60 };

test("greedy texts are those of PyTorch: alone, and in the company of others that come and go", async (t) => {
  const model = await open(t, { slots: 3, maxWaiting: 40, prefillTokens: 5 });
  const expected = await expectedTexts();
  for (const each of expected) t.is(await text(model.generate(each.prompt, greedy)), each.text);
  const texts = Array.from({ length: 24 }, async (_, index) => {
    const { prompt, text: whole } = expected[index % expected.length]!;
    if (index % 3 === 1) {
      // Leaves after some tokens, so that rows are swapped under the others.
      const generation = model.generate(prompt, { ...greedy, temperature: 1, seed: index });
      for (let chunks = 0; chunks < index; chunks++) await generation.next();
      generation.cancel();
      return;
    }
    const count = 60 - index;
    t.is(
      await text(model.generate(prompt, { ...greedy, max_tokens: count })),
      whole.slice(0, count),
    );
  });
  await Promise.all(texts);
});

test("logprobs are those of PyTorch's logits", async (t) => {
  const model = await open(t);
  for (const { prompt, text: whole, lastLogits } of await expectedTexts()) {
    const before = prompt + whole.slice(0, -1);
    const chunk = (
      await model.generate(before, { temperature: 0, max_tokens: 1, logprobs: 20 }).next()
    ).value!;
    const best = Math.max(...lastLogits);
    const total =
      best + Math.log(lastLogits.reduce((sum, logit) => sum + Math.exp(logit - best), 0));
    const [{ top }] = chunk.logprobs as [NonNullable<TextChunk["logprobs"]>[number]];
    t.is(top.length, 20);
    for (const { token, logprob } of top) {
      t.true(Math.abs(logprob - (lastLogits[token]! - total)) < 2e-4);
    }
    t.is(chunk.text, whole.at(-1)!);
  }
});

test("files that are not there, no JSON, or do not fit are refused with what is wrong", async (t) => {
  const folder = await temporaryFolder(t);
  const vocabulary = join(folder, "vocabulary.json");
  const refused = async (
    content: string,
    message: RegExp,
    more: Partial<TextModelOptions> = {},
  ): Promise<void> => {
    await writeFile(vocabulary, content);
    await t.throwsAsync(openTextModel({ ...files, vocabulary, name: "m", ...more }), { message });
  };
  const good = {
    layers: 5,
    heads: 4,
    headSize: 32,
    contextLength: 512,
    characters: "x".repeat(78),
  };
  const json = (change: object): string => JSON.stringify({ ...good, ...change });
  await t.throwsAsync(openTextModel({ ...files, vocabulary: join(folder, "none") }), {
    message: /its vocabulary cannot be read: ENOENT/,
  });
  await refused("{", /its vocabulary cannot be read/);
  await refused("null", /"layers" in .* must be an integer above 0/);
  await refused(json({ heads: 0 }), /"heads" in/);
  await refused(json({ characters: "" }), /"characters" in/);
  await refused(
    json({ layers: 6 }),
    /the graph has no past_key_5, past_value_5, new_key_5, new_value_5/,
  );
  await refused(
    json({ layers: 4 }),
    /the graph has inputs that nothing fills: past_key_4, past_value_4/,
  );
  await refused(json({ heads: 2 }), /dimension 1 of "past_key_0" is 4 in the graph, and 2/);
  await refused(json({ characters: "abc" }), /dimension 1 of "logits" is 79 in the graph, and 4/);
  await refused(json({}), /model "m".*none\.onnx/s, { graph: join(folder, "none.onnx") });
  await refused(json({}), /got 0 slots, expected 1 to 1024/, { slots: 0 });
});
