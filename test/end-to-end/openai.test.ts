import { join } from "node:path";
import test from "ava";
import { createAccessKey, hashAccessKey } from "../../server/access/access-key.ts";
import { startServer } from "../support/command.ts";
import { allEvents, readEvents } from "../support/event-stream.ts";
import { serveForAll } from "../support/shared-server.ts";
import { temporaryFolder, writeFiles } from "../support/temporary-folder.ts";
import { expectedTexts, textModelFolder } from "../support/text-model.ts";

/** Text in, words out, and nothing of what is optional; "chat" shows the prompt that a chat became. */
const words = `import { defineModel, InputError, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { text_input: { datatype: "BYTES", shape: [-1] } },
  outputs: { text_output: { datatype: "BYTES", shape: [-1] } },
  async *infer({ text_input }, { parameters }) {
    const [text] = text_input.strings();
    if (text === "fail") throw new InputError("it was asked to fail");
    for (const word of text.split(/(?<= )/)) {
      if (word === "fail") throw new Error("it went wrong");
      yield { text_output: tensor([1], [word]) };
    }
    if (parameters.top_k === 7) yield { text_output: tensor([1], [JSON.stringify(parameters)]) };
  },
});
`;

const upper = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { text_input: { datatype: "BYTES", shape: [1] } },
  outputs: { text_output: { datatype: "BYTES", shape: [1] }, finish_reason: { datatype: "BYTES", shape: [1] } },
  infer: ({ text_input }) => ({
    text_output: tensor([1], [text_input.strings()[0].toUpperCase()]),
    finish_reason: tensor([1], ["length"]),
  }),
});
`;

const image = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { image: { datatype: "FP32", shape: [1] } },
  outputs: { text_output: { datatype: "BYTES", shape: [1] } },
  infer: () => ({ text_output: tensor([1], ["a"]) }),
});
`;

const template = `backend: "typescript"
parameters { key: "chat_template" value { string_value: "<{{#messages}}{{#user}}U:{{content}};{{/user}}{{#system}}S:{{content}};{{/system}}{{/messages}}>" } }
`;

interface Answer {
  readonly status: number;
  readonly header: Headers;
  readonly body: Body;
}

interface Body {
  readonly id: string;
  readonly object: string;
  readonly model: string;
  readonly choices: readonly Choice[];
  readonly usage?: object | null;
  readonly error: {
    readonly message: string;
    readonly type: string;
    readonly param: string | null;
    readonly code: string;
  };
}

interface Choice {
  readonly index: number;
  readonly text: string;
  readonly message: { readonly role: string; readonly content: string };
  readonly delta: { readonly role?: string; readonly content?: string };
  readonly logprobs: Logprobs | null;
  readonly finish_reason: string | null;
}

interface Logprobs {
  readonly tokens: readonly string[];
  readonly token_logprobs: readonly number[];
  readonly top_logprobs: readonly Readonly<Record<string, number>>[];
  readonly text_offset: readonly number[];
  readonly content: readonly {
    readonly token: string;
    readonly logprob: number;
    readonly bytes: readonly number[];
    readonly top_logprobs: readonly { readonly token: string; readonly logprob: number }[];
  }[];
}

interface Client {
  post(path: string, body: object): Promise<Answer>;
  events(path: string, body: object): Promise<Body[]>;
  get(path: string): Promise<{ readonly status: number; readonly body: object }>;
}

function clientOf(url: string, header: Record<string, string> = {}): Client {
  const send = (path: string, body: object): Promise<Response> =>
    fetch(`${url}/openai/v1/${path}`, {
      method: "POST",
      body: JSON.stringify(body),
      headers: header,
    });
  return {
    async post(path, body) {
      const response = await send(path, body);
      return {
        status: response.status,
        header: response.headers,
        body: (await response.json()) as Body,
      };
    },
    async events(path, body) {
      const response = await send(path, { ...body, stream: true });
      if (response.headers.get("content-type") !== "text/event-stream; charset=utf-8") {
        throw new Error(`no events: ${await response.text()}`);
      }
      const events: string[] = [];
      for await (const data of readEvents(response)) events.push(data);
      if (events.pop() !== "[DONE]") throw new Error("the stream does not end with [DONE]");
      return events.map((data) => JSON.parse(data) as Body);
    },
    async get(path) {
      const response = await fetch(`${url}/openai/v1/${path}`, { headers: header });
      return { status: response.status, body: (await response.json()) as object };
    },
  };
}

/** One server for all tests that need no settings of their own. */
const serving = serveForAll([textModelFolder], {
  "words/1/model.ts": words,
  "chat/1/model.ts": words,
  "chat/config.pbtxt": template,
  "broken/1/model.ts": words,
  "broken/config.pbtxt": template.replace("{{/messages}}", ""),
  "upper/1/model.ts": upper,
  "image/1/model.ts": image,
});

const greedy = { model: "opticks", temperature: 0 };

test("completions of the example are those of PyTorch: whole, in events, several at once, and as a chat", async (t) => {
  const client = clientOf((await serving()).url);
  const expected = await expectedTexts();
  const prompts = expected.map(({ prompt }) => prompt);
  const { body } = await client.post("completions", {
    ...greedy,
    prompt: prompts,
    n: 2,
    max_tokens: 60,
  });
  t.deepEqual(
    body.choices.map(({ index, text, finish_reason }) => [index, text, finish_reason]),
    expected.flatMap(({ text }, at) => [
      [2 * at, text, "length"],
      [2 * at + 1, text, "length"],
    ]),
  );
  // The start token counts as one of the prompt's.
  const promptTokens = prompts.reduce((sum, prompt) => sum + prompt.length + 1, 0);
  const generated = 2 * 60 * prompts.length;
  t.deepEqual(body.usage, {
    prompt_tokens: promptTokens,
    completion_tokens: generated,
    total_tokens: promptTokens + generated,
  });
  t.is(body.object, "text_completion");
  t.regex(body.id, /^cmpl-/);

  await Promise.all(
    expected.map(async ({ prompt, text }) => {
      const asked = { ...greedy, prompt, max_tokens: 60, stream_options: { include_usage: true } };
      const chunks = await client.events("completions", asked);
      const last = chunks.pop();
      t.deepEqual(last?.choices, []);
      t.deepEqual(last?.usage, {
        prompt_tokens: prompt.length + 1,
        completion_tokens: 60,
        total_tokens: prompt.length + 61,
      });
      t.is(chunks.map(({ choices: [choice] }) => choice!.text).join(""), text);
      t.deepEqual(new Set(chunks.map(({ usage }) => usage)), new Set([null]));
      t.deepEqual(
        chunks.map(({ choices: [choice] }) => choice!.finish_reason),
        chunks.map((_, at) => (at === chunks.length - 1 ? "length" : null)),
      );
      t.is(new Set(chunks.map(({ id }) => id)).size, 1);
    }),
  );

  // Its template puts a blank after each message.
  const [first] = expected;
  const chat = {
    ...greedy,
    max_completion_tokens: 60,
    messages: [{ role: "user", content: first!.prompt.trimEnd() }],
  };
  t.is(first!.prompt, `${first!.prompt.trimEnd()} `);
  const whole = await client.post("chat/completions", chat);
  t.is(whole.body.object, "chat.completion");
  t.deepEqual(whole.body.choices[0]?.message, {
    role: "assistant",
    content: first!.text,
    refusal: null,
  } as object);
  const chunks = await client.events("chat/completions", chat);
  t.is(chunks[0]?.object, "chat.completion.chunk");
  t.is(chunks[0]?.choices[0]?.delta.role, "assistant");
  t.is(chunks.map(({ choices: [choice] }) => choice!.delta.content ?? "").join(""), first!.text);
  t.is(chunks.at(-1)?.choices[0]?.finish_reason, "length");
});

test("logprobs are the logarithms of PyTorch's probabilities, in both forms", async (t) => {
  const client = clientOf((await serving()).url);
  const [{ prompt, text, lastLogits }] = (await expectedTexts()) as [
    Awaited<ReturnType<typeof expectedTexts>>[number],
  ];
  const total = Math.log(lastLogits.reduce((sum, logit) => sum + Math.exp(logit), 0));
  const ranked = lastLogits.map((logit) => logit - total).sort((a, b) => b - a);
  const asked = { ...greedy, prompt, max_tokens: 60 };
  const { body } = await client.post("completions", { ...asked, logprobs: 3 });
  const {
    tokens,
    token_logprobs: chosen,
    top_logprobs: top,
    text_offset: offsets,
  } = body.choices[0]!.logprobs!;
  t.is(tokens.join(""), text);
  t.deepEqual(
    offsets,
    Array.from(text, (_, at) => at),
  );
  t.true(Math.abs(chosen.at(-1)! - ranked[0]!) < 2e-4);
  const three = Object.values(top.at(-1)!).sort((a, b) => b - a);
  t.is(three.length, 3);
  t.true(three.every((logprob, rank) => Math.abs(logprob - ranked[rank]!) < 2e-4));

  const chunks = await client.events("completions", { ...asked, logprobs: 0 });
  t.deepEqual(
    chunks.flatMap(({ choices: [choice] }) => choice!.logprobs?.token_logprobs ?? []),
    chosen as number[],
  );
  t.deepEqual(
    chunks.flatMap(({ choices: [choice] }) => choice!.logprobs?.text_offset ?? []),
    offsets as number[],
  );

  const messages = [{ role: "user", content: [{ type: "text", text: prompt.trimEnd() }] }];
  const chat = { ...greedy, messages, max_tokens: 60, logprobs: true, top_logprobs: 3 };
  const { content } = (await client.post("chat/completions", chat)).body.choices[0]!.logprobs!;
  t.deepEqual(
    content.map(({ logprob }) => logprob),
    chosen as number[],
  );
  t.deepEqual(Buffer.from(content.flatMap(({ bytes }) => bytes)).toString(), text);
  t.deepEqual(
    content.at(-1)!.top_logprobs.map(({ logprob }) => logprob),
    three,
  );
});

test("stop strings, seeds, max_tokens and echo do what OpenAI's API says", async (t) => {
  const client = clientOf((await serving()).url);
  const [{ prompt, text }] = (await expectedTexts()) as [
    Awaited<ReturnType<typeof expectedTexts>>[number],
  ];
  const stop = text.slice(10, 14);
  const stopped = await client.post("completions", {
    ...greedy,
    prompt,
    max_tokens: 60,
    stop: ["[", stop],
    echo: true,
  });
  const [choice] = stopped.body.choices;
  t.is(choice?.text, prompt + text.slice(0, text.indexOf(stop)));
  t.is(choice?.finish_reason, "stop");
  const parts = await client.events("completions", {
    ...greedy,
    prompt,
    max_tokens: 60,
    stop,
    echo: true,
  });
  t.is(parts.map(({ choices: [part] }) => part!.text).join(""), choice?.text ?? "");
  // OpenAI's own default.
  const short = await client.post("completions", { ...greedy, prompt });
  t.is(short.body.choices[0]?.text, text.slice(0, 16));

  const drawn = async (seed?: number): Promise<string[]> => {
    const { body } = await client.post("completions", {
      model: "opticks",
      prompt,
      n: 3,
      seed,
      max_tokens: 40,
    });
    return body.choices.map((each) => each.text);
  };
  const [one, again, other] = await Promise.all([drawn(5), drawn(5), drawn(6)]);
  t.deepEqual(one, again);
  t.is(new Set(one).size, 3);
  // Each text has the seed after that of the one before.
  t.deepEqual(one?.slice(1), other?.slice(0, 2));
  t.notDeepEqual(await drawn(), await drawn());
});

test("models with nothing but text_input and text_output are served, decoupled or not", async (t) => {
  const client = clientOf((await serving()).url);
  const { body } = await client.post("completions", { model: "words", prompt: ["a b", "cé d"] });
  t.deepEqual(
    body.choices.map(({ text, finish_reason }) => [text, finish_reason]),
    [
      ["a b", "stop"],
      ["cé d", "stop"],
    ],
  );
  t.false("usage" in body);
  const chunks = await client.events("completions", {
    model: "words",
    prompt: "a b",
    stream_options: { include_usage: true },
  });
  t.deepEqual(
    chunks.map(({ choices: [choice] }) => choice?.text),
    ["a ", "b", "", undefined],
  );
  t.is(chunks.at(-1)?.usage, null);
  const one = await client.events("completions", { model: "upper", prompt: ["a", "b"] });
  t.deepEqual(
    one.map(({ choices: [choice] }) => [choice!.index, choice!.text, choice!.finish_reason]).sort(),
    [
      [0, "A", "length"],
      [1, "B", "length"],
    ],
  );

  // Everything that is for the model reaches it.
  const sampling = {
    temperature: 0.25,
    top_p: 0.5,
    top_k: 7,
    min_p: 0.125,
    frequency_penalty: 1,
    presence_penalty: -1,
    repetition_penalty: 1.5,
    ignore_eos: true,
  };
  const ignored = {
    user: "u",
    metadata: { a: "b" },
    store: true,
    tools: [],
    response_format: { type: "text" },
    logit_bias: {},
    suffix: null,
    best_of: 1,
  };
  const told = await client.post("completions", {
    model: "words",
    prompt: "x",
    ...sampling,
    ...ignored,
    seed: 9,
    stop: "[1]",
    max_tokens: 3,
  });
  t.deepEqual(JSON.parse(told.body.choices[0]!.text.slice(1)), {
    ...sampling,
    stop: '["[1]"]',
    max_tokens: 3,
    seed: 9,
  });
});

test("a chat becomes a prompt by the model's template, or by the default one", async (t) => {
  const client = clientOf((await serving()).url);
  const messages = [
    { role: "system", content: "be <brief>" },
    { role: "user", content: "hi" },
    { role: "assistant", content: null },
    {
      role: "user",
      content: [
        { type: "text", text: "a" },
        { type: "text", text: "b" },
      ],
    },
  ];
  const content = async (model: string): Promise<string | undefined> =>
    (
      await client.post("chat/completions", {
        model,
        messages: messages.filter((each) => each.content),
      })
    ).body.choices[0]?.message.content;
  t.is(await content("chat"), "<S:be <brief>;U:hi;U:ab;>");
  t.is(await content("words"), "system: be <brief>\nuser: hi\nuser: ab\nassistant:");
  const broken = await client.post("chat/completions", {
    model: "broken",
    messages: messages.slice(0, 2),
  });
  t.is(broken.status, 400);
  t.regex(broken.body.error.message, /does not close \{\{#messages\}\}/);
});

test("what is not supported, wrong or not there is refused in OpenAI's form, and names the field", async (t) => {
  const client = clientOf((await serving()).url);
  const messages = [{ role: "user", content: "a" }];
  const refused = async (path: string, body: object): Promise<unknown[]> => {
    const answer = await client.post(path, body);
    t.is(answer.header.get("content-type"), "application/json");
    const { type, param, code, message } = answer.body.error;
    t.true(message.length > 0);
    return [answer.status, type, param, code];
  };
  const bad = (param: string, code = "parameter_invalid"): unknown[] => [
    400,
    "invalid_request_error",
    param,
    code,
  ];
  const unsupported = (param: string): unknown[] => bad(param, "parameter_unsupported");
  const completion = { model: "words", prompt: "a" };
  t.deepEqual(await refused("completions", { prompt: "a" }), bad("model"));
  t.deepEqual(await refused("completions", { model: "words" }), bad("prompt"));
  t.deepEqual(await refused("completions", { ...completion, prompt: [1, 2] }), bad("prompt"));
  t.deepEqual(await refused("completions", { ...completion, n: 0 }), bad("n"));
  t.deepEqual(await refused("completions", { ...completion, n: 65 }), bad("n"));
  t.deepEqual(await refused("completions", { ...completion, prompt: ["a", "b"], n: 33 }), bad("n"));
  t.deepEqual(await refused("completions", { ...completion, max_tokens: 0 }), bad("max_tokens"));
  t.deepEqual(
    await refused("completions", { ...completion, temperature: "hot" }),
    bad("temperature"),
  );
  t.deepEqual(await refused("completions", { ...completion, stop: [""] }), bad("stop"));
  t.deepEqual(await refused("completions", { ...completion, seed: 0.5 }), bad("seed"));
  t.deepEqual(await refused("completions", { ...completion, stream: "yes" }), bad("stream"));
  t.deepEqual(await refused("completions", { ...completion, suffix: "z" }), unsupported("suffix"));
  t.deepEqual(await refused("completions", { ...completion, best_of: 2 }), unsupported("best_of"));
  t.deepEqual(
    await refused("completions", { ...completion, logit_bias: { 5: 1 } }),
    unsupported("logit_bias"),
  );
  t.deepEqual(
    await refused("completions", { ...completion, logprobs: 1 }),
    unsupported("logprobs"),
  );
  t.deepEqual(
    await refused("completions", { ...greedy, prompt: "a", logprobs: 1, echo: true }),
    unsupported("echo"),
  );
  t.deepEqual(
    await refused("completions", { ...completion, stream_options: { a: 1 } }),
    unsupported("a"),
  );
  t.deepEqual(
    await refused("completions", { ...greedy, prompt: "a", temperature: 3 }),
    bad("temperature"),
  );
  t.deepEqual(await refused("completions", { ...greedy, prompt: "a".repeat(600) }), bad("prompt"));
  t.deepEqual(await refused("chat/completions", { model: "words", messages: [] }), bad("messages"));
  t.deepEqual(
    await refused("chat/completions", { model: "words", messages, tools: [{}] }),
    unsupported("tools"),
  );
  t.deepEqual(
    await refused("chat/completions", { model: "words", messages, top_logprobs: 1 }),
    unsupported("top_logprobs"),
  );
  t.deepEqual(
    await refused("chat/completions", {
      model: "words",
      messages,
      response_format: { type: "json_object" },
    }),
    unsupported("response_format"),
  );
  t.deepEqual(
    await refused("chat/completions", {
      model: "words",
      messages: [{ role: "tool", content: "a" }],
    }),
    bad("messages[0].role"),
  );
  const picture = [{ role: "user", content: [{ type: "image_url", image_url: {} }] }];
  t.deepEqual(
    await refused("chat/completions", { model: "words", messages: picture }),
    unsupported("messages[0].content[0]"),
  );

  const nothing = [404, "invalid_request_error", null, "model_not_found"];
  t.deepEqual(await refused("completions", { model: "nope", prompt: "a" }), nothing);
  t.deepEqual(await refused("completions", { model: "image", prompt: "a" }), [
    400,
    "invalid_request_error",
    null,
    "model_not_text",
  ]);
  t.deepEqual(await refused("completions", { model: "words", prompt: "fail" }), [
    400,
    "invalid_request_error",
    null,
    "model_input_refused",
  ]);
  t.deepEqual(await refused("completions", { model: "words", prompt: "a fail" }), [
    500,
    "server_error",
    null,
    "model_execution_failed",
  ]);
  t.deepEqual(await refused("models", {}), [
    405,
    "invalid_request_error",
    null,
    "method_not_allowed",
  ]);
  t.is((await client.get("nothing")).status, 404);
});

test("an error after the first piece is an event, and no [DONE] follows it", async (t) => {
  const folder = await temporaryFolder(t, { "words/1/model.ts": words });
  const server = await startServer(t, [folder]);
  const failing = await fetch(`${server.url}/openai/v1/completions`, {
    method: "POST",
    body: JSON.stringify({ model: "words", prompt: "a fail", stream: true }),
  });
  const [piece, error, ...more] = (await allEvents(failing)) as Body[];
  t.is(piece?.choices[0]?.text, "a ");
  t.is(error?.error.code, "model_execution_failed");
  t.deepEqual(more, []);
});

test("models lists those that generate text", async (t) => {
  const client = clientOf((await serving()).url);
  const { body } = await client.get("models");
  const { object, data } = body as {
    object: string;
    data: { id: string; object: string; created: number; owned_by: string }[];
  };
  t.is(object, "list");
  t.deepEqual(data.map(({ id }) => id).sort(), ["broken", "chat", "opticks", "upper", "words"]);
  t.true(
    data.every((each) => each.object === "model" && each.created > 1.7e9 && each.owned_by !== ""),
  );
  t.is(((await client.get("models/words")).body as { id: string }).id, "words");
  t.is((await client.get("models/nope")).status, 404);
  t.is((await client.get("models/image")).status, 400);
});

test("keys hold for text as for tensors: permissions, and models", async (t) => {
  const keys = { infer: createAccessKey(), read: createAccessKey() };
  const entry = (name: keyof typeof keys, models: string): string =>
    `- { name: ${name}, sha256: "${hashAccessKey(keys[name])}", permissions: [${name}], models: ${models} }\n`;
  const folder = await temporaryFolder(t, {
    "models/words/1/model.ts": words,
    "models/other/1/model.ts": words,
  });
  await writeFiles(folder, { "keys.yaml": entry("infer", "[words]") + entry("read", "[other]") });
  const server = await startServer(t, [
    join(folder, "models"),
    "--api-keys",
    join(folder, "keys.yaml"),
  ]);
  const as = (key: string | undefined): Client =>
    clientOf(server.url, key === undefined ? {} : { authorization: `Bearer ${key}` });
  const outcomes = async (client: Client): Promise<unknown[]> => {
    const chat = { messages: [{ role: "user", content: "a" }] };
    const answers = [
      await client.post("completions", { model: "words", prompt: "a" }),
      await client.post("completions", { model: "other", prompt: "a" }),
      await client.post("chat/completions", { model: "other", ...chat }),
    ];
    return answers.map(({ status, body }) => body.error?.code ?? status);
  };
  t.deepEqual(await outcomes(as(undefined)), Array(3).fill("credentials_missing"));
  t.deepEqual(await outcomes(as("tw_wrong")), Array(3).fill("credentials_invalid"));
  t.deepEqual(await outcomes(as(keys.infer)), [200, "model_forbidden", "model_forbidden"]);
  t.deepEqual(await outcomes(as(keys.read)), Array(3).fill("permission_missing"));
  t.is((await as(keys.infer).get("models")).status, 403);
  const { data } = (await as(keys.read).get("models")).body as { data: { id: string }[] };
  t.deepEqual(
    data.map(({ id }) => id),
    ["other"],
  );

  const generate = async (key: string, model: string, route: string): Promise<number> => {
    const response = await fetch(`${server.url}/v2/models/${model}/${route}`, {
      method: "POST",
      body: JSON.stringify({ text_input: "a" }),
      headers: { authorization: `Bearer ${key}` },
    });
    await response.text();
    return response.status;
  };
  for (const route of ["generate", "generate_stream"]) {
    t.is(await generate(keys.infer, "words", route), 200);
    t.is(await generate(keys.infer, "other", route), 403);
    t.is(await generate(keys.read, "other", route), 403);
  }
});

test("texts that are whole have a limit together, and streams have none", async (t) => {
  const folder = await temporaryFolder(t, { "words/1/model.ts": words });
  const client = clientOf((await startServer(t, [folder, "--max-message-size", "10000"])).url);
  const asked = { model: "words", prompt: "a".repeat(4_999) };
  t.is((await client.post("completions", { ...asked, n: 2 })).status, 200);
  const { status, body } = await client.post("completions", { ...asked, n: 3 });
  t.deepEqual([status, body.error.code], [500, "answer_too_large"]);
  const chunks = await client.events("completions", { ...asked, n: 3 });
  t.is(
    chunks.reduce((sum, { choices: [choice] }) => sum + choice!.text.length, 0),
    3 * 4_999,
  );
});

test("who looks for the API under /v1 is told where it is", async (t) => {
  const { url } = await serving();
  const response = await fetch(`${url}/v1/chat/completions`, { method: "POST", body: "{}" });
  t.is(response.status, 404);
  t.regex(((await response.json()) as { error: string }).error, /is under \/openai\/v1/);
});
