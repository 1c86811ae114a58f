import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { type GrpcJsClient, grpcJsClient, type Message } from "../support/grpc-js-client.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

const lengths = `import { defineModel, InputError, tensor } from "tensorwire/model";

interface Counted { readonly unit: number }

export default defineModel({
  inputs: { text: { datatype: "BYTES", shape: [-1] }, factor: { datatype: "INT32", shape: [1], optional: true } },
  outputs: { length: { datatype: "INT32", shape: [-1] } },
  load: ({ parameters }): Counted => ({ unit: Number(parameters["unit"] ?? 1) }),
  infer({ text, factor }, { state, parameters }) {
    const by = (factor?.data[0] ?? 1) * state.unit * Number(parameters["times"] ?? 1);
    if (text.strings().includes("")) throw new InputError("an empty text has no length worth knowing");
    if (text.strings().includes("boom")) throw new Error("it went boom");
    return { length: tensor(text.shape, Int32Array.from(text.strings(), (each) => each.length * by)) };
  },
});
`;

/** Counts up to n, 10 ms apart if it is asked to be slow; tells of its end in the log. */
const counter = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { n: { datatype: "INT32", shape: [1] } },
  outputs: { i: { datatype: "INT32", shape: [1] } },
  async *infer({ n }, { log, parameters }) {
    let i = 0;
    try {
      for (; i < n.data[0]!; i++) {
        if (parameters["slow"]) await new Promise((resolve) => setTimeout(resolve, 10));
        if (parameters["fail_at"] === i) throw new Error("it was asked to fail at " + i);
        yield { i: tensor([1], Int32Array.of(i)) };
      }
    } finally {
      log.info({ reached: i }, "counter ended");
    }
  },
});
`;

/** Adds by way of the ONNX model "plus1", as often as it is asked to. */
const caller = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { x: { datatype: "FP32", shape: [-1] } },
  outputs: { y: { datatype: "FP32", shape: [-1] } },
  async infer({ x }, { client, parameters }) {
    let value = x;
    for (let turn = 0; turn < Number(parameters["turns"] ?? 1); turn++) {
      const result = await client.infer(String(parameters["model"] ?? "plus1"), { x: value });
      value = result.output("y", "FP32");
    }
    return { y: value };
  },
});
`;

/** Adds up what counter counts, over a stream of its own. */
const summing = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { n: { datatype: "INT32", shape: [1] } },
  outputs: { sum: { datatype: "INT32", shape: [1] } },
  async infer({ n }, { client }) {
    let sum = 0;
    for await (const { result, error } of client.inferStream([{ model: "counter", inputs: { n } }])) {
      if (error) throw error;
      sum += result.output("i", "INT32").data[0]!;
    }
    return { sum: tensor([1], Int32Array.of(sum)) };
  },
});
`;

/** Does what it is told, good or bad. */
const unruly = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { what: { datatype: "BYTES", shape: [1] } },
  outputs: { done: { datatype: "BYTES", shape: [1] } },
  concurrency: 2,
  async infer({ what }, { signal }) {
    const [order] = what.strings();
    if (order === "exit") process.exit(3);
    if (order === "throw later") setTimeout(() => { throw new Error("out of nowhere"); });
    if (order === "fill memory") for (const all = []; ; ) all.push(new Array(1e6).fill(Math.random()));
    if (order === "wait") await new Promise((resolve) => signal.addEventListener("abort", resolve));
    if (order === "never") await new Promise(() => {});
    if (order === "wrong output") return { other: tensor([1], ["x"]) } as never;
    if (order === "wrong type") return { done: tensor([1], [1]) } as never;
    return { done: what };
  },
});
`;

/** Plain JavaScript with a batch dimension; answers how many rows each run had. */
const rows = `import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { x: { datatype: "FP32", shape: [1] } },
  outputs: { rows: { datatype: "INT32", shape: [1] } },
  maxBatchSize: 16,
  concurrency: 1,
  async infer({ x }) {
    await new Promise((resolve) => setTimeout(resolve, 5));
    return { rows: tensor(x.shape, new Int32Array(x.shape[0]).fill(x.shape[0])) };
  },
});
`;

interface Started {
  readonly server: RunningServer;
  readonly client: GrpcJsClient;
}

async function start(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>>,
  ...args: readonly string[]
): Promise<Started> {
  const folder = await temporaryFolder(t, files);
  const server = await startServer(t, [folder, ...args]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  return { server, client };
}

interface Given {
  readonly datatype: string;
  readonly shape: readonly number[];
  readonly contents: Message;
}

function request(
  model: string,
  inputs: Readonly<Record<string, Given>>,
  parameters: Message = {},
): Message {
  const given = Object.entries(inputs).map(([name, input]) => ({ name, ...input }));
  return { model_name: model, inputs: given, parameters };
}

const texts = (...values: readonly string[]): Given => ({
  datatype: "BYTES",
  shape: [values.length],
  contents: { bytes_contents: values.map((value) => Buffer.from(value)) },
});

const int = (value: number): Given => ({
  datatype: "INT32",
  shape: [1],
  contents: { int_contents: [value] },
});

const floats = (...values: readonly number[]): Given => ({
  datatype: "FP32",
  shape: [values.length],
  contents: { fp32_contents: values },
});

interface Output {
  readonly name: string;
  readonly contents: Record<string, unknown[]>;
}

/** Typed contents of the first output. */
function firstOf(answer: Message): unknown[] {
  const [{ contents }] = answer.outputs as [Output];
  return Object.values(contents).find((values) => values.length > 0) ?? [];
}

test("a model in TypeScript: types, state, parameters, optional inputs, and its own words for errors", async (t) => {
  const { client, server } = await start(t, {
    "lengths/1/model.ts": lengths,
    "lengths/config.pbtxt":
      'backend: "typescript" parameters { key: "unit" value { string_value: "10" } }',
  });
  const ask = (inputs: Readonly<Record<string, Given>>, parameters?: Message): Promise<unknown[]> =>
    client.call("ModelInfer", request("lengths", inputs, parameters)).then(firstOf);
  t.deepEqual(await ask({ text: texts("a", "four") }), [10, 40]);
  t.deepEqual(await ask({ text: texts("ab"), factor: int(3) }), [60]);
  t.deepEqual(await ask({ text: texts("ab") }, { times: { int64_param: 2 } }), [40]);
  const refused = await t.throwsAsync(ask({ text: texts("a", "") }));
  t.regex(refused?.message ?? "", /INVALID_ARGUMENT: model "lengths": an empty text has no length/);
  const failed = await t.throwsAsync(ask({ text: texts("boom") }));
  t.regex(failed?.message ?? "", /INTERNAL: model "lengths" failed on this input: it went boom/);
  await until(() => /model\.ts:\d+/.test(server.stderr()));

  const { config } = await client.call("ModelConfig", { name: "lengths" });
  t.is((config as Message).backend, "typescript");
  const metadata = await client.call("ModelMetadata", { name: "lengths" });
  t.deepEqual((metadata.outputs as { datatype: string }[])[0]!.datatype, "INT32");
  const rest = await fetch(`http://${server.address}/v2/models/lengths/infer`, {
    method: "POST",
    body: JSON.stringify({
      inputs: [{ name: "text", datatype: "BYTES", shape: [1], data: ["seven77"] }],
    }),
  });
  const { outputs } = (await rest.json()) as { outputs: { data: number[] }[] };
  t.deepEqual(outputs[0]!.data, [70]);
});

test("a decoupled model answers as often as it likes, and hears when nobody listens any more", async (t) => {
  const { client, server } = await start(t, { "counter/1/model.ts": counter });
  const stream = client.stream("ModelStreamInfer");
  const answers: Message[] = [];
  stream.on("data", (answer: Message) => answers.push(answer));
  stream.write({
    ...request(
      "counter",
      { n: int(500) },
      { triton_enable_empty_final_response: { bool_param: true } },
    ),
    id: "c",
  });
  const final = (answer: Message | undefined): unknown =>
    ((answer?.infer_response as Message | undefined)?.parameters as Record<string, Message>)
      ?.triton_final_response?.bool_param;
  await until(() => final(answers.at(-1)) === true);
  t.is(answers.length, 501);
  t.deepEqual(
    answers.slice(0, -1).map((answer) => firstOf(answer.infer_response as Message)[0] ?? 0),
    Array.from({ length: 500 }, (_, index) => index),
  );

  // An error after some answers is an answer of its own.
  answers.length = 0;
  stream.write(request("counter", { n: int(9) }, { fail_at: { int64_param: 2 } }));
  await until(() => answers.some(({ error_message: message }) => message !== ""));
  t.regex(String(answers.at(-1)!.error_message), /it was asked to fail at 2/);
  t.is(answers.length, 3);

  // Leaving ends the model's work.
  answers.length = 0;
  stream.write(request("counter", { n: int(1_000_000) }, { slow: { bool_param: true } }));
  await until(() => answers.length >= 3);
  stream.on("error", () => {});
  stream.cancel();
  await until(() => (server.stderr().match(/counter ended/g) ?? []).length === 3);

  const refused = await t.throwsAsync(client.call("ModelInfer", request("counter", { n: int(1) })));
  t.regex(refused?.message ?? "", /UNIMPLEMENTED/);
  const { model_stats: stats } = await client.call("ModelStatistics", { name: "counter" });
  t.is((stats as { inference_count: string }[])[0]!.inference_count, "1");
});

test("a slow reader holds up a decoupled model", async (t) => {
  const { client, server } = await start(t, { "counter/1/model.ts": counter });
  const stream = client.stream("ModelStreamInfer");
  stream.on("error", () => {});
  stream.pause();
  stream.write(request("counter", { n: int(10_000_000) }));
  // Nobody reads: the model stops long before its end, and says how far it came when it is cancelled.
  await client.call("ModelReady", { name: "counter" });
  for (let calls = 0; calls < 200; calls++) await client.call("ModelReady", { name: "counter" });
  stream.cancel();
  await until(() => /counter ended/.test(server.stderr()));
  const reached = Number(
    /"reached":\s*(\d+)/.exec(server.stderr())?.[1] ??
      /reached[^0-9]*(\d+)/.exec(server.stderr())?.[1],
  );
  t.true(reached < 100_000, `it came to ${reached}`);
});

test("a model calls other models through the client, streams included", async (t) => {
  const { client } = await start(t, {
    "plus1/1/model.onnx": addModel(1),
    "caller/1/model.ts": caller,
    "counter/1/model.ts": counter,
    "summing/1/model.ts": summing,
  });
  const ask = (parameters: Message): Promise<unknown[]> =>
    client.call("ModelInfer", request("caller", { x: floats(0.5, 2) }, parameters)).then(firstOf);
  t.deepEqual(await ask({}), [1.5, 3]);
  t.deepEqual(await ask({ turns: { int64_param: 20 } }), [20.5, 22]);
  const gone = await t.throwsAsync(ask({ model: { string_param: "nobody" } }));
  t.regex(
    gone?.message ?? "",
    /NOT_FOUND: model "caller": model "nobody" is not in the repository/,
  );
  const sum = await client.call("ModelInfer", request("summing", { n: int(101) }));
  t.deepEqual(firstOf(sum), [5050]);
});

test("a model that ends its thread takes nobody with it, and comes back", async (t) => {
  const { client } = await start(t, {
    "unruly/1/model.ts": unruly,
    "unruly/config.pbtxt": 'parameters { key: "heap_limit_mib" value { string_value: "64" } }',
    "plus1/1/model.onnx": addModel(1),
  });
  const order = (what: string): Promise<unknown[]> =>
    client.call("ModelInfer", request("unruly", { what: texts(what) })).then(firstOf);
  for (const fatal of ["exit", "throw later", "fill memory"]) {
    const beside = order("never");
    const error = await t.throwsAsync(Promise.all([order(fatal), beside]));
    t.regex(error?.message ?? "", /UNAVAILABLE.*thread of model "unruly" ended/, fatal);
    await t.throwsAsync(beside);
    const other = await client.call("ModelInfer", request("plus1", { x: floats(1) }));
    t.deepEqual(firstOf(other), [2]);
    await until(async () => {
      try {
        return String((await order("hello"))[0]) === "hello";
      } catch (error) {
        t.regex((error as Error).message, /UNAVAILABLE/);
        return false;
      }
    });
  }
  const wrong = await t.throwsAsync(order("wrong output"));
  t.regex(
    wrong?.message ?? "",
    /INTERNAL.*infer gave output "other", which the definition does not/,
  );
  const type = await t.throwsAsync(order("wrong type"));
  t.regex(type?.message ?? "", /output "done" of FP32, declared as BYTES/);
});

test("a cancel and a deadline reach the model, and free its place", async (t) => {
  const { client } = await start(t, { "unruly/1/model.ts": unruly });
  const order = (what: string, deadlineMs?: number): Promise<Message> =>
    client.call(
      "ModelInfer",
      request("unruly", { what: texts(what) }),
      deadlineMs === undefined ? {} : { deadlineMs },
    );
  // Its two places are taken by calls that only end when they are cancelled.
  for (let round = 0; round < 3; round++) {
    const late = [order("wait", 60), order("wait", 60)];
    for (const each of late) {
      const error = await t.throwsAsync(each);
      t.regex(error?.message ?? "", /DEADLINE_EXCEEDED/);
    }
    t.is(String(firstOf(await order("hello"))[0]), "hello");
  }
});

test("dynamic_batching gathers the calls of a model with a batch dimension", async (t) => {
  const { client } = await start(t, {
    "rows/1/model.js": rows,
    "rows/config.pbtxt": "dynamic_batching { }",
  });
  const ask = (): Promise<unknown[]> =>
    client
      .call("ModelInfer", request("rows", { x: { ...floats(1), shape: [1, 1] } }))
      .then(firstOf);
  const sizes = (await Promise.all(Array.from({ length: 64 }, ask))).map(([size]) => Number(size));
  t.true(Math.max(...sizes) > 1);
  t.true(Math.max(...sizes) <= 16);
});

test("instances are threads of their own, and a file of TypeScript is a model by itself", async (t) => {
  const { client } = await start(t, {
    "lengths/1/model.ts": lengths,
    "lengths/config.pbtxt": 'backend: "typescript" instance_group { count: 3 }',
  });
  const answers = await Promise.all(
    Array.from({ length: 60 }, (_, index) =>
      client.call("ModelInfer", request("lengths", { text: texts("x".repeat(index + 1)) })),
    ),
  );
  t.deepEqual(
    answers.map((answer) => firstOf(answer)[0]),
    answers.map((_, index) => index + 1),
  );
  const folder = await temporaryFolder(t, { "words.ts": lengths });
  const server = await startServer(t, [`${folder}/words.ts`]);
  const other = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => other.close());
  t.deepEqual(
    firstOf(await other.call("ModelInfer", request("words", { text: texts("abc") }))),
    [3],
  );
});

test("a module that is no model is refused with what is wrong with it", async (t) => {
  const head = 'import { defineModel } from "tensorwire/model";\n';
  const io = 'inputs: {}, outputs: { y: { datatype: "FP32", shape: [1] } }';
  const { client } = await start(
    t,
    {
      "nothing/1/model.ts": "export const x = 1;",
      "broken/1/model.ts": "export default {",
      "type/1/model.ts": `${head}export default defineModel({ inputs: {}, outputs: { y: { datatype: "FLOAT", shape: [1] } }, infer() {} });`,
      "load/1/model.ts": `${head}export default defineModel({ ${io}, load() { throw new Error("no weights") }, infer() {} });`,
      "exits/1/model.ts": "process.exit(7);",
      "good/1/model.ts": lengths,
    },
    "--strict-readiness=false",
  );
  const { models } = await client.call("RepositoryIndex", {});
  const reasons = new Map(
    (models as { name: string; reason: string }[]).map(({ name, reason }) => [name, reason]),
  );
  t.regex(reasons.get("nothing") ?? "", /default export is not a model; write "export default/);
  t.regex(reasons.get("broken") ?? "", /broken.*model\.ts/s);
  t.regex(reasons.get("type") ?? "", /outputs\.y\.datatype is "FLOAT", expected one of BOOL/);
  t.regex(reasons.get("load") ?? "", /no weights/);
  t.regex(reasons.get("exits") ?? "", /thread ended with code 7/);
  t.is(reasons.get("good"), "");
});

test("code that comes with a load request is refused", async (t) => {
  const { client } = await start(
    t,
    { "good/1/model.ts": lengths },
    "--model-control-mode",
    "explicit",
  );
  const error = await t.throwsAsync(
    client.call("RepositoryModelLoad", {
      model_name: "evil",
      parameters: {
        config: { string_param: '{"backend": "typescript"}' },
        "file:1/model.ts": { bytes_param: Buffer.from(lengths) },
      },
    }),
  );
  t.regex(error?.message ?? "", /must be data, not code/);
});
