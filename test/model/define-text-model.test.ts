import test, { type ExecutionContext } from "ava";
import {
  createStepModelGenerator,
  type TextGenerator,
} from "../../server/generation/text-generator.ts";
import { characterVocabulary } from "../../server/generation/vocabulary.ts";
import type { InferContext } from "../../server/model/define-model.ts";
import { defineTextModel } from "../../server/model/define-text-model.ts";
import { tensor } from "../../server/model/model-api.ts";
import { continuation, recordingModel } from "../support/step-model.ts";

// Tokens 1 to 4; 0 ends a text.
const characters = "abcd";
const greedy = { temperature: 0, max_tokens: 12 };

/** What the greedy text of a prompt is, and whether the end token ends it. */
function expected(prompt: string): { readonly tokens: number[]; readonly text: string } {
  const tokens = continuation(
    [0, ...Array.from(prompt, (each) => characters.indexOf(each) + 1)],
    12,
  );
  return {
    tokens,
    text: tokens.map((token) => (token === 0 ? "" : characters[token - 1])).join(""),
  };
}

interface Answer {
  readonly text: string;
  readonly finish: string;
  readonly prompt: number;
  readonly generated: number;
  readonly logprobs: {
    readonly token: string;
    readonly logprob: number;
    readonly top_logprobs: object[];
  }[];
}

interface Bench {
  readonly generator: TextGenerator;
  ask(inputs: object, parameters?: object, signal?: AbortSignal): AsyncIterable<Answer>;
}

function bench(t: ExecutionContext): Bench {
  const generator = createStepModelGenerator({
    name: "m",
    model: recordingModel(2, 64),
    vocabulary: characterVocabulary(characters),
  });
  t.teardown(() => generator.close());
  const model = defineTextModel({ open: () => generator });
  return {
    generator,
    async *ask(inputs, parameters = greedy, signal = new AbortController().signal) {
      const context = {
        state: generator,
        signal,
        parameters,
      } as unknown as InferContext<TextGenerator>;
      const answers = model.infer(inputs as Parameters<typeof model.infer>[0], context);
      for await (const each of answers as AsyncIterable<
        Record<string, ReturnType<typeof tensor>>
      >) {
        const strings = (name: string): readonly string[] => {
          const given = each[name]!;
          if (given.datatype !== "BYTES") throw new Error(`${name} is ${given.datatype}`);
          return given.strings();
        };
        const count = (name: string): number =>
          Number((each[name] as { data: Uint32Array }).data[0]);
        yield {
          text: strings("text_output")[0]!,
          finish: strings("finish_reason")[0]!,
          prompt: count("num_input_tokens"),
          generated: count("num_output_tokens"),
          logprobs: strings("logprobs").map((text) => JSON.parse(text)),
        };
      }
    },
  };
}

async function all(answers: AsyncIterable<Answer>): Promise<Answer[]> {
  const list: Answer[] = [];
  for await (const answer of answers) list.push(answer);
  return list;
}

const text = (value: string) => tensor([1], [value]);
const flag = (value: boolean) => tensor([1], [value]);

/** Prompts of which one text ends by itself, and one by its length. */
const ends = ["a", "ab", "abc", "b", "c", "dd", "ad", "cab"];
const stopping = ends.find((prompt) => expected(prompt).tokens.at(-1) === 0)!;
const going = ends.find((prompt) => expected(prompt).tokens.at(-1) !== 0)!;

test("pieces put together are the text; the last one has the reason and the tokens of the prompt", async (t) => {
  const { ask } = bench(t);
  for (const prompt of [stopping, going]) {
    const { tokens, text: whole } = expected(prompt);
    const answers = await all(ask({ text_input: text(prompt) }));
    t.is(answers.map((answer) => answer.text).join(""), whole);
    t.is(
      answers.reduce((sum, { generated }) => sum + generated, 0),
      tokens.length,
    );
    t.is(answers.at(-1)?.finish, prompt === stopping ? "stop" : "length");
    t.is(answers.at(-1)?.prompt, prompt.length + 1);
    t.true(answers.slice(0, -1).every(({ finish }) => finish === ""));
  }
});

test("stream false gives one answer, with all of it", async (t) => {
  const { ask } = bench(t);
  const { tokens, text: whole } = expected(going);
  const answers = await all(
    ask({ text_input: text(going), stream: flag(false) }, { ...greedy, logprobs: 1 }),
  );
  t.is(answers.length, 1);
  const [{ logprobs, ...answer }] = answers as [Answer];
  t.deepEqual(answer, {
    text: whole,
    finish: "length",
    prompt: going.length + 1,
    generated: tokens.length,
  });
  t.is(logprobs.map(({ token }) => token).join(""), whole);
});

test("exclude_input_in_output false puts the prompt before the text", async (t) => {
  const { ask } = bench(t);
  const whole = going + expected(going).text;
  for (const stream of [true, false]) {
    const inputs = {
      text_input: text(going),
      stream: flag(stream),
      exclude_input_in_output: flag(false),
    };
    t.is((await all(ask(inputs))).map((answer) => answer.text).join(""), whole);
  }
});

test("sampling_parameters count over request parameters, and both are checked", async (t) => {
  const { ask } = bench(t);
  const sampling = text('{"temperature": "0", "max_tokens": 2}');
  const answers = await all(
    ask({ text_input: text(going), sampling_parameters: sampling }, { max_tokens: 9 }),
  );
  t.is(
    answers.reduce((sum, { generated }) => sum + generated, 0),
    2,
  );
  await t.throwsAsync(all(ask({ text_input: text("a") }, { temprature: 0 })), {
    message: /"temprature"/,
  });
  await t.throwsAsync(all(ask({ text_input: text("z") })), { message: /the character "z"/ });
});

test("logprobs have no entry for the end token, whose text is empty", async (t) => {
  const { ask } = bench(t);
  const { tokens, text: whole } = expected(stopping);
  const answers = await all(ask({ text_input: text(stopping) }, { ...greedy, logprobs: 3 }));
  const logprobs = answers.flatMap((answer) => answer.logprobs);
  t.is(logprobs.length, tokens.length - 1);
  t.is(logprobs.map(({ token }) => token).join(""), whole);
  t.true(logprobs.every(({ logprob, top_logprobs: top }) => logprob < 0 && top.length === 3));
  t.deepEqual(
    (await all(ask({ text_input: text(stopping) }))).flatMap((answer) => answer.logprobs),
    [],
  );
});

test("leaving the answers, and a signal, end the generation", async (t) => {
  const { ask, generator } = bench(t);
  const endless = { ...greedy, max_tokens: null, ignore_eos: true };
  for await (const _ of ask({ text_input: text("a") }, endless)) break;
  const abort = new AbortController();
  let count = 0;
  for await (const { finish } of ask({ text_input: text("a") }, endless, abort.signal)) {
    if (++count === 2) abort.abort();
    else if (count > 2) t.is(finish, "cancelled");
  }
  // Both slots are free for these, which would wait otherwise.
  const after = ["a", "b"].map((prompt) => all(ask({ text_input: text(prompt) })));
  for (const answers of await Promise.all(after)) t.not(answers.at(-1)?.finish, "");
  await generator.close();
});

test("the definition has what the text routes look for, and a limit of calls that its generator takes", (t) => {
  const { inputs, outputs, concurrency, decoupled } = defineTextModel({
    open: () => ({}) as TextGenerator,
  });
  t.is(inputs.text_input.datatype, "BYTES");
  t.is(outputs.text_output.datatype, "BYTES");
  t.is(concurrency, 72);
  t.true(decoupled);
});
