import { createContextValues } from "@connectrpc/connect";
import test from "ava";
import fc from "fast-check";
import { inputMissing } from "../../../../server/errors/request-errors.ts";
import type { InferRequest } from "../../../../server/rpc/infer-messages.ts";
import type {
  InferenceBackend,
  StreamInferResponse,
} from "../../../../server/rpc/inference-backend.ts";
import { createRestHandler, type RestHandler } from "../../../../server/rpc/rest/rest-handler.ts";
import { joinBytesElements, splitBytesElements } from "../../../../server/tensor/bytes-elements.ts";

/** Answers each prompt in pieces of one character, the requests of a stream in turn; counts its own failures. */
function handlerOf(failures: unknown[]): RestHandler {
  const backend: Partial<InferenceBackend> = {
    modelMetadata: async ({ name }) => ({
      name,
      inputs: [{ name: "text_input", datatype: "BYTES", shape: [1n] }],
      outputs: [
        "text_output",
        "finish_reason",
        "num_input_tokens",
        "num_output_tokens",
        "logprobs",
      ].map((output) => ({
        name: output,
        datatype: output.startsWith("num") ? "UINT32" : "BYTES",
        shape: [output === "logprobs" ? -1n : 1n],
      })),
    }),
    modelConfig: async () => ({ config: {} }),
    modelStreamInfer: answers,
  };
  return createRestHandler({
    backend: backend as InferenceBackend,
    probes: { isStarted: () => true, isReady: () => true },
    metrics: async () => ({ contentType: "text/plain", text: "" }),
    maxBodyBytes: 1 << 20,
    maxTimeoutMs: 60_000,
    onInternalError: (error) => failures.push(error),
  });
}

async function* answers(
  requests: AsyncIterable<InferRequest>,
): AsyncGenerator<StreamInferResponse> {
  const texts: {
    readonly id: string;
    readonly letters: string[];
    readonly outputs: readonly string[];
    readonly tokens: number;
  }[] = [];
  for await (const { id, outputs, rawInputContents } of requests) {
    const [raw] = rawInputContents;
    if (!raw) throw inputMissing("m", [], ["text_input"], ["text_input"]);
    const [prompt] = splitBytesElements("text_input", raw, 1);
    const letters = [...Buffer.from(prompt!).toString()];
    texts.push({
      id,
      letters,
      outputs: outputs.length === 0 ? ["text_output"] : outputs.map(({ name }) => name),
      tokens: letters.length,
    });
  }
  for (
    let under = texts;
    under.length > 0;
    under = under.filter(({ letters }) => letters.length > 0)
  ) {
    for (const { id, letters, outputs, tokens } of under) {
      const letter = letters.shift() ?? "";
      const last = letters.length === 0;
      const logprob = JSON.stringify({ token: letter, logprob: -1, top_logprobs: [] });
      const values: Record<string, Uint8Array> = {
        text_output: joinBytesElements([Buffer.from(letter)]),
        finish_reason: joinBytesElements([Buffer.from(last ? "length" : "")]),
        num_input_tokens: new Uint8Array(Uint32Array.of(tokens).buffer),
        num_output_tokens: new Uint8Array(Uint32Array.of(letter === "" ? 0 : 1).buffer),
        logprobs: joinBytesElements([Buffer.from(logprob)]),
      };
      yield {
        inferResponse: {
          id,
          outputs: outputs.map((name) => ({
            name,
            datatype: name.startsWith("num") ? "UINT32" : "BYTES",
            shape: [1n],
          })),
          rawOutputContents: outputs.map((name) => values[name]!),
        },
      };
      if (last) {
        const parameterChoice = { case: "boolParam" as const, value: true };
        yield { inferResponse: { id, parameters: { triton_final_response: { parameterChoice } } } };
      }
    }
  }
}

async function post(
  handler: RestHandler,
  path: string,
  body: unknown,
): Promise<{ readonly status: number; readonly text: string }> {
  const bytes = Buffer.from(typeof body === "string" ? body : JSON.stringify(body));
  const response = await handler({
    httpVersion: "1.1",
    method: "POST",
    url: `http://localhost${path}`,
    header: new Headers(),
    body: (async function* () {
      yield bytes;
    })(),
    signal: new AbortController().signal,
    contextValues: createContextValues(),
  });
  const parts: Uint8Array[] = [];
  for await (const part of response!.body as AsyncIterable<Uint8Array>) parts.push(part);
  return { status: response!.status, text: Buffer.concat(parts).toString() };
}

const names = [
  "model",
  "prompt",
  "messages",
  "n",
  "stream",
  "stream_options",
  "stop",
  "seed",
  "max_tokens",
  "max_completion_tokens",
  "temperature",
  "top_p",
  "top_k",
  "logprobs",
  "top_logprobs",
  "echo",
  "best_of",
  "user",
  "tools",
  "response_format",
  "logit_bias",
  "text_input",
  "parameters",
  "id",
  "__proto__",
  "constructor",
] as const;

const value = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(
    "m",
    "",
    true,
    false,
    null,
    0,
    1,
    2,
    -1,
    0.5,
    1e21,
    [],
    {},
    ["a", "b"],
    [{ role: "user", content: "a" }],
  ),
);

test("no body, however strange, is a failure of the server's own", async (t) => {
  const failures: unknown[] = [];
  const handler = handlerOf(failures);
  const body = fc.array(fc.tuple(fc.oneof(fc.constantFrom(...names), fc.string()), value), {
    maxLength: 8,
  });
  const base = fc.constantFrom<object>(
    {},
    { model: "m", prompt: "ab" },
    { model: "m", messages: [{ role: "user", content: "ab" }] },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(
        "/openai/v1/completions",
        "/openai/v1/chat/completions",
        "/v2/models/m/generate",
        "/v2/models/m/generate_stream",
      ),
      base,
      body,
      async (path, given, members) => {
        // Object.fromEntries makes __proto__ a member of its own, as JSON.parse does.
        const json = JSON.stringify(Object.fromEntries([...Object.entries(given), ...members]));
        const { status, text } = await post(handler, path, json);
        if (status === 200) return text.length > 0;
        const { error } = JSON.parse(text);
        const message = path.startsWith("/openai/") ? error.message : error;
        return status >= 400 && status < 500 && typeof message === "string";
      },
    ),
    { numRuns: 1000 },
  );
  t.deepEqual(failures, []);
});

test("texts are put together by their prompts, however their pieces come; a stream gives the same", async (t) => {
  const handler = handlerOf([]);
  const text = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 });
  await fc.assert(
    fc.asyncProperty(
      fc.array(text, { minLength: 1, maxLength: 5 }),
      fc.integer({ min: 1, max: 4 }),
      fc.boolean(),
      fc.boolean(),
      async (prompts, n, echo, logprobs) => {
        fc.pre(!(echo && logprobs));
        const asked = { model: "m", prompt: prompts, n, echo, ...(logprobs && { logprobs: 0 }) };
        const whole = JSON.parse((await post(handler, "/openai/v1/completions", asked)).text);
        const expected = prompts.flatMap((prompt) =>
          Array<string>(n).fill(echo ? prompt + prompt : prompt),
        );
        const letters = prompts.reduce((sum, prompt) => sum + [...prompt].length, 0);
        t.deepEqual(
          whole.choices.map((choice: { text: string }) => choice.text),
          expected,
        );
        t.deepEqual(
          whole.choices.map((choice: { index: number }) => choice.index),
          [...expected.keys()],
        );
        t.deepEqual(whole.usage, {
          prompt_tokens: letters,
          completion_tokens: n * letters,
          total_tokens: letters + n * letters,
        });
        const streamed = await post(handler, "/openai/v1/completions", {
          ...asked,
          stream: true,
          stream_options: { include_usage: true },
        });
        const events = streamed.text
          .split("\n\n")
          .slice(0, -1)
          .map((event) => event.slice("data: ".length));
        t.is(events.pop(), "[DONE]");
        const chunks = events.map((event) => JSON.parse(event));
        t.deepEqual(chunks.pop().usage, whole.usage);
        const parts = expected.map(() => "");
        const ends = expected.map(() => 0);
        const tokens: { text: string; offset: number }[][] = expected.map(() => []);
        for (const {
          choices: [choice],
        } of chunks) {
          t.is(ends[choice.index], 0);
          parts[choice.index] += choice.text;
          if (choice.finish_reason !== null) ends[choice.index]!++;
          choice.logprobs?.tokens.forEach((token: string, at: number) => {
            tokens[choice.index]!.push({ text: token, offset: choice.logprobs.text_offset[at] });
          });
        }
        t.deepEqual(parts, expected);
        t.deepEqual(
          ends,
          expected.map(() => 1),
        );
        if (logprobs) {
          for (const [index, list] of tokens.entries()) {
            const characters = [...expected[index]!];
            t.deepEqual(
              list,
              characters.map((character, offset) => ({ text: character, offset })),
            );
          }
        }
      },
    ),
    { numRuns: 100 },
  );
});
