import { once } from "node:events";
import { connect, constants } from "node:http2";
import test from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { allEvents, readEvents } from "../support/event-stream.ts";
import { serveForAll } from "../support/shared-server.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

/** Does what the model does that Triton tests its generate extension with: answers its prompt some times. */
const mockLlm = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: {
    PROMPT: { datatype: "BYTES", shape: [1] },
    STREAM: { datatype: "BOOL", shape: [1] },
    REPETITION: { datatype: "INT32", shape: [1], optional: true },
    FAIL_LAST: { datatype: "BOOL", shape: [1], optional: true },
    ENDLESS: { datatype: "BOOL", shape: [1], optional: true },
  },
  outputs: { TEXT: { datatype: "BYTES", shape: [1] } },
  async *infer({ PROMPT, REPETITION, FAIL_LAST, ENDLESS }, { signal, log }) {
    log.info({}, "began");
    const times = ENDLESS?.data[0] ? Infinity : REPETITION?.data[0] ?? 1;
    signal.addEventListener("abort", () => log.info({}, "left"));
    if (times < 0) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    for (let i = 0; i < times; i++) {
      yield { TEXT: PROMPT };
      if (times === Infinity) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    if (FAIL_LAST?.data[0]) throw new Error("An Error Occurred");
  },
});
`;

/** Pieces of a text, without an input that says whether to make pieces. */
const words = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { text_input: { datatype: "BYTES", shape: [-1, 1] } },
  outputs: {
    text_output: { datatype: "BYTES", shape: [1] },
    parameters: { datatype: "BYTES", shape: [1] },
    count: { datatype: "INT64", shape: [2] },
  },
  async *infer({ text_input }, { parameters }) {
    let count = 0n;
    for (const word of text_input.strings()[0].split(" "))
      yield {
        text_output: tensor([1], [word.repeat(Number(parameters.times ?? 1))]),
        parameters: tensor([1], [JSON.stringify(parameters)]),
        count: tensor([2], [++count, 2n ** 60n]),
      };
  },
});
`;

/** One answer to a call, as most models have. */
const upper = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { text_input: { datatype: "BYTES", shape: [-1] }, factors: { datatype: "FP32", shape: [2, 2], optional: true } },
  outputs: { text_output: { datatype: "BYTES", shape: [-1] }, sum: { datatype: "FP32", shape: [1] } },
  infer: ({ text_input, factors }) => ({
    text_output: tensor(text_input.shape, text_input.strings().map((each) => each.toUpperCase())),
    sum: tensor([1], [factors?.data.reduce((sum, each) => sum + each) ?? 0]),
  }),
});
`;

interface Started {
  readonly stderr: () => string;
  readonly ask: (
    model: string,
    route: string,
    body: object | string,
    signal?: AbortSignal,
  ) => Promise<Response>;
}

const files = {
  "mock_llm/1/model.ts": mockLlm,
  "words/3/model.ts": words,
  "upper/1/model.ts": upper,
};
const serving = serveForAll([], files);

function started({ stderr, url }: RunningServer): Started {
  return {
    stderr,
    ask: (model, route, body, signal) =>
      fetch(`${url}/v2/models/${model}/${route}`, {
        method: "POST",
        body: typeof body === "string" ? body : JSON.stringify(body),
        ...(signal && { signal }),
      }),
  };
}

async function refusal(
  response: Response,
): Promise<{ readonly status: number; readonly error: string }> {
  const { error } = (await response.json()) as { readonly error: string };
  return { status: response.status, error };
}

test("generate and generate_stream answer as Triton's own tests of the extension expect", async (t) => {
  const { ask } = started(await serving());
  const text = "hello world";
  const one = await ask("mock_llm", "generate", { PROMPT: text, STREAM: false });
  t.is(one.status, 200);
  t.is(one.headers.get("content-type"), "application/json");
  t.deepEqual(await one.json(), { model_name: "mock_llm", model_version: "1", TEXT: text });

  const three = await ask("mock_llm", "generate_stream", {
    PROMPT: [text],
    STREAM: true,
    REPETITION: 3,
  });
  t.is(three.status, 200);
  t.is(three.headers.get("content-type"), "text/event-stream; charset=utf-8");
  const answer = { model_name: "mock_llm", model_version: "1", TEXT: text };
  t.deepEqual(await allEvents(three), [answer, answer, answer]);

  // What "parameters" holds may be an input too.
  const nested = { PROMPT: [text], STREAM: true, parameters: { REPETITION: 2 } };
  t.is((await allEvents(await ask("mock_llm", "generate_stream", nested))).length, 2);

  const exactlyOne = /generate expects model to produce exactly 1 response/;
  for (const REPETITION of [0, 2]) {
    const { status, error } = await refusal(
      await ask("mock_llm", "generate", { PROMPT: text, STREAM: true, REPETITION }),
    );
    t.is(status, 501);
    t.regex(error, exactlyOne);
  }
  const none = await ask("mock_llm", "generate_stream", {
    PROMPT: text,
    STREAM: true,
    REPETITION: 0,
  });
  t.is(none.status, 200);
  t.deepEqual(await allEvents(none), []);
});

test("an error before the first answer has its status, and one after it is an event", async (t) => {
  const { ask } = started(await serving());
  const failing = { PROMPT: "a", STREAM: true, FAIL_LAST: true };
  const first = await ask("mock_llm", "generate_stream", { ...failing, REPETITION: 0 });
  t.is(first.status, 500);
  t.is(first.headers.get("content-type"), "application/json");
  t.regex((await refusal(first)).error, /An Error Occurred/);

  const later = await ask("mock_llm", "generate_stream", { ...failing, REPETITION: 1 });
  t.is(later.status, 200);
  const [answer, error] = (await allEvents(later)) as {
    TEXT?: string;
    error?: string;
    reason?: string;
  }[];
  t.is(answer?.TEXT, "a");
  t.regex(error?.error ?? "", /An Error Occurred/);
  t.is(error?.reason, "MODEL_EXECUTION_FAILED");
});

test("bodies that are wrong are refused in JSON by both routes", async (t) => {
  const { ask } = started(await serving());
  for (const route of ["generate", "generate_stream"]) {
    const refused = async (body: object | string, model = "mock_llm"): Promise<unknown[]> => {
      const response = await ask(model, route, body);
      t.is(response.headers.get("content-type"), "application/json");
      const { reason } = (await response.json()) as { readonly reason: string };
      return [response.status, reason];
    };
    t.deepEqual(await refused({}), [400, "INPUT_MISSING"]);
    t.deepEqual(await refused({ PROMPT: "a" }), [400, "INPUT_MISSING"]);
    t.deepEqual(await refused({ PROMPT: 123, STREAM: false }), [400, "TENSOR_VALUE_INVALID"]);
    t.deepEqual(await refused({ PROMPT: "a", STREAM: "false" }), [400, "TENSOR_VALUE_INVALID"]);
    t.deepEqual(await refused({ PROMPT: { a: "b" }, STREAM: true }), [400, "TENSOR_VALUE_INVALID"]);
    t.deepEqual(await refused({ PROMPT: "a", STREAM: true, PARAMS: { a: 0 } }), [
      400,
      "REQUEST_MALFORMED",
    ]);
    t.deepEqual(await refused({ PROMPT: "a", STREAM: true, parameters: 1 }), [
      400,
      "REQUEST_MALFORMED",
    ]);
    t.deepEqual(await refused({ PROMPT: "a", STREAM: true, id: 1 }), [400, "REQUEST_MALFORMED"]);
    t.deepEqual(await refused({ PROMPT: "a", STREAM: true, parameters: { STREAM: true } }), [
      400,
      "INPUT_DUPLICATE",
    ]);
    t.deepEqual(await refused("{"), [400, "REQUEST_MALFORMED"]);
    t.deepEqual(await refused({ text_input: "a" }, "nope"), [404, "MODEL_NOT_FOUND"]);
  }
});

test("pieces of text_output are put together, and parameters reach the model", async (t) => {
  const { ask } = started(await serving());
  const parameters = { temperature: 0.5, max_tokens: 8, stop: ["a", "b"], top_k: null, echo: true };
  const joined = await ask("words", "versions/3/generate", {
    id: "7",
    text_input: "a b cé",
    parameters,
  });
  t.deepEqual(await joined.json(), {
    id: "7",
    model_name: "words",
    model_version: "3",
    text_output: "abcé",
    parameters: '{"temperature":0.5,"max_tokens":8,"stop":"[\\"a\\",\\"b\\"]","echo":true}',
    count: [3, 2 ** 60],
  });
  // What asks gRPC's streams for an empty answer at the end changes nothing here.
  const final = { text_input: "a b", triton_enable_empty_final_response: true };
  const whole = (await (await ask("words", "generate", final)).json()) as { text_output: string };
  t.is(whole.text_output, "ab");
  t.is((await allEvents(await ask("words", "generate_stream", final))).length, 2);
  const events = (await allEvents(
    await ask("words", "generate_stream", { text_input: "a b", top_p: 1 }),
  )) as { text_output: string; parameters: string }[];
  t.deepEqual(
    events.map(({ text_output }) => text_output),
    ["a", "b"],
  );
  t.is(events[0]?.parameters, '{"top_p":1}');
});

test("a model with one answer is served by both, its inputs in whatever shape they come", async (t) => {
  const { ask } = started(await serving());
  const model = { model_name: "upper", model_version: "1" };
  const one = await ask("upper", "generate", { text_input: "a" });
  t.deepEqual(await one.json(), { ...model, text_output: "A", sum: 0 });
  const two = await ask("upper", "generate", {
    text_input: ["a", "b"],
    factors: [
      [1, 2],
      [3, 4],
    ],
  });
  t.deepEqual(await two.json(), { ...model, text_output: ["A", "B"], sum: 10 });
  const flat = await ask("upper", "generate_stream", { text_input: "c", factors: [1, 2, 3, 5] });
  t.deepEqual(await allEvents(flat), [{ ...model, text_output: "C", sum: 11 }]);
  const wrong = await ask("upper", "generate", { text_input: "c", factors: [1, 2, 3] });
  t.is(wrong.status, 400);
});

test("who leaves ends the model's work", async (t) => {
  // A server of its own, whose log tells of nothing else.
  const server = await startServer(t, [await temporaryFolder(t, files)]);
  const { ask, stderr } = started(server);
  const endless = { PROMPT: "a", STREAM: true, ENDLESS: true };
  const abort = new AbortController();
  const response = await ask("mock_llm", "generate_stream", endless, abort.signal);
  let seen = 0;
  await t.throwsAsync(async () => {
    for await (const _ of readEvents(response)) if (++seen === 3) abort.abort();
  });
  await until(() => /"left"/.test(stderr()));
  // A model that gives more than one answer is not waited for.
  const { status } = await ask("mock_llm", "generate", endless);
  t.is(status, 501);
  await until(() => (stderr().match(/"left"/g) ?? []).length === 2);
  // One that waits for its only answer can be left, too.
  const waiting = new AbortController();
  const hanging = { PROMPT: "a", STREAM: true, REPETITION: -1 };
  const answer = t.throwsAsync(ask("mock_llm", "generate", hanging, waiting.signal));
  await until(() => (stderr().match(/"began"/g) ?? []).length === 3);
  waiting.abort();
  await answer;
  await until(() => (stderr().match(/"left"/g) ?? []).length === 3);
});

test("a stream of HTTP/2 that is reset ends the model's work, and its connection goes on", async (t) => {
  const server = await startServer(t, [await temporaryFolder(t, files)]);
  const connection = connect(server.url);
  t.teardown(() => connection.destroy());
  const path = "/v2/models/mock_llm/generate_stream";
  const stream = connection.request({ ":method": "POST", ":path": path });
  stream.end(JSON.stringify({ PROMPT: "a", STREAM: true, ENDLESS: true }));
  await once(stream, "data");
  stream.close(constants.NGHTTP2_CANCEL);
  await until(() => /"left"/.test(server.stderr()));
  const next = connection.request({ ":path": "/v2/health/live" });
  const [headers] = (await once(next, "response")) as [Record<string, unknown>];
  t.is(headers[":status"], 200);
});

test("a text that is put together has a limit, as every body has", async (t) => {
  const folder = await temporaryFolder(t, { "words/1/model.ts": words });
  const server = await startServer(t, [folder, "--max-message-size", "10000"]);
  const answer = (route: string, times: number): Promise<Response> =>
    fetch(`${server.url}/v2/models/words/${route}`, {
      method: "POST",
      body: JSON.stringify({ text_input: "a b", times }),
    });
  const whole = (await (await answer("generate", 5_000)).json()) as { text_output: string };
  t.is(whole.text_output, "a".repeat(5_000) + "b".repeat(5_000));
  const long = await answer("generate", 5_001);
  t.is(long.status, 500);
  t.is(((await long.json()) as { reason: string }).reason, "ANSWER_TOO_LARGE");
  t.is((await allEvents(await answer("generate_stream", 5_001))).length, 2);
});

test("a deadline ends a text: one of the caller's headers, or the server's limit", async (t) => {
  const folder = await temporaryFolder(t, { "mock_llm/1/model.ts": mockLlm });
  const server = await startServer(t, [folder, "--max-timeout", "700ms"]);
  const ask = (
    route: string,
    body: object,
    headers: Record<string, string> = {},
  ): Promise<Response> =>
    fetch(`${server.url}/v2/models/mock_llm/${route}`, {
      method: "POST",
      body: JSON.stringify({ PROMPT: "a", STREAM: true, ...body }),
      headers,
    });
  const hanging = { REPETITION: -1 };
  for (const headers of [{ "connect-timeout-ms": "50" }, { "grpc-timeout": "50m" }, {}]) {
    const late = await ask("generate", hanging, headers as Record<string, string>);
    t.is(late.status, 504);
    t.is(((await late.json()) as { reason: string }).reason, "DEADLINE_EXCEEDED");
  }
  const endless = (await allEvents(await ask("generate_stream", { ENDLESS: true }))) as object[];
  t.true(endless.length > 1);
  t.like(endless.at(-1), { reason: "DEADLINE_EXCEEDED" });
  await until(() => (server.stderr().match(/"left"/g) ?? []).length === 4);
});
