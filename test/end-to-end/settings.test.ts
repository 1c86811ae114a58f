import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

/** Adds 1, and 1 again. */
const twice = `platform: "ensemble"
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling { step [
  { model_name: "adder" model_version: -1
    input_map { key: "x" value: "x" } output_map { key: "y" value: "between" } },
  { model_name: "adder" model_version: -1
    input_map { key: "x" value: "between" } output_map { key: "y" value: "y" } }
] }`;

/** Starts a server on a folder with the models `adder` and `twice`, and a folder for traces. */
async function start(
  t: ExecutionContext,
  ...flags: readonly string[]
): Promise<RunningServer & { readonly traces: string }> {
  const models = await temporaryFolder(t, {
    "adder/1/model.onnx": addModel(1),
    "twice/config.pbtxt": twice,
    "twice/1/.keep": "",
  });
  const traces = join(await temporaryFolder(t, {}), "traces");
  return { ...(await startServer(t, [models, "--trace-dir", traces, ...flags])), traces };
}

/** A request on a connection of its own, so that workers take turns. */
async function send(
  { address }: RunningServer,
  method: string,
  path: string,
  body?: object,
): Promise<{ readonly status: number; readonly json: Record<string, unknown> }> {
  const [host, port] = address.split(":");
  const socket = connect(Number(port), host);
  const text = body ? JSON.stringify(body) : "";
  socket.write(
    `${method} ${path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: ${text.length}\r\n\r\n${text}`,
  );
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  await once(socket, "close");
  const answer = Buffer.concat(parts).toString();
  return {
    status: Number(answer.slice(9, 12)),
    json: JSON.parse(answer.slice(answer.indexOf("\r\n\r\n") + 4)),
  };
}

const inputs = [{ name: "x", datatype: "FP32", shape: [1], data: [1] }];

async function infer(server: RunningServer, id: string): Promise<void> {
  const { json } = await send(server, "POST", "/v2/models/adder/infer", { id, inputs });
  if (json.id !== id) throw new Error(JSON.stringify(json));
}

interface Entry {
  readonly id: number;
  readonly parent_id?: number;
  readonly timestamps?: readonly { readonly name: string; readonly ns: number }[];
  readonly model_name?: string;
  readonly request_id?: string;
}

async function requests(folder: string): Promise<string[]> {
  const files = await readdir(folder);
  const texts = await Promise.all(files.map((file) => readFile(join(folder, file), "utf8")));
  return texts
    .flatMap((text) => JSON.parse(text) as Entry[])
    .flatMap(({ request_id }) => request_id ?? [])
    .sort();
}

test("traces are written while the server runs, and the last ones when it ends", async (t) => {
  const server = await start(t);
  await infer(server, "before");
  const set = await send(server, "POST", "/v2/trace/setting", {
    trace_file: "t.json",
    trace_level: ["TIMESTAMPS"],
    trace_rate: 1,
  });
  t.deepEqual(set.json, {
    trace_file: "t.json",
    trace_level: ["TIMESTAMPS"],
    trace_rate: "1",
    trace_count: "-1",
    log_frequency: "0",
    trace_mode: "triton",
  });
  await infer(server, "first");
  // A look at the file may come between its making and its content.
  await until(async () => (await requests(server.traces).catch(() => [])).length > 0);
  t.deepEqual(await requests(server.traces), ["first"]);
  await infer(server, "last");
  server.process.kill("SIGTERM");
  t.is(await server.ended, 0);
  t.deepEqual(await requests(server.traces), ["first", "last"]);
});

test("calls that an ensemble makes stand behind it, and a call that fails has its begin and end", async (t) => {
  const server = await start(t);
  const settings = {
    trace_file: "t",
    trace_level: "TIMESTAMPS",
    trace_rate: "1",
    log_frequency: "1",
  };
  await send(server, "POST", "/v2/trace/setting", settings);
  const call = (id: string, model: string, shape: readonly number[]) =>
    send(server, "POST", `/v2/models/${model}/infer`, {
      id,
      inputs: [{ name: "x", datatype: "FP32", shape, data: new Array(shape[0]).fill(1) }],
    });
  const { json } = await call("both", "twice", [1]);
  t.deepEqual((json.outputs as { data: unknown }[])[0]!.data, [3]);
  t.is((await call("wrong", "adder", [1, 1])).status, 400);
  await until(async () => (await readdir(server.traces)).includes("t.1"));
  const read = async (name: string) =>
    JSON.parse(await readFile(join(server.traces, name), "utf8")) as Entry[];
  const [first, second] = [await read("t.0"), await read("t.1")];

  const heads = first.filter(({ model_name }) => model_name !== undefined);
  t.deepEqual(
    heads.map(({ model_name, request_id }) => [model_name, request_id]),
    [
      ["twice", "both"],
      ["adder", "both"],
      ["adder", "both"],
    ],
  );
  const [root, ...steps] = heads;
  t.deepEqual(
    steps.map(({ parent_id }) => parent_id),
    [root!.id, root!.id],
  );
  const times = (of: number) =>
    first.flatMap(({ id, timestamps }) => (id === of ? (timestamps ?? []) : []));
  for (const { id } of steps) {
    t.true(times(id)[0]!.ns >= times(root!.id)[0]!.ns, "a step begins after its call");
    t.true(times(id).at(-1)!.ns <= times(root!.id).at(-1)!.ns, "and ends before it");
  }
  t.deepEqual(
    second.flatMap(({ timestamps }) => timestamps?.map(({ name }) => name) ?? []),
    ["REQUEST_START", "REQUEST_END"],
  );
});

test("levels of the log are set by calls, and the audit goes on", async (t) => {
  const server = await start(t, "--log-format", "json");
  const lines = () =>
    server
      .stderr()
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { level: string; msg: string; call?: string });
  const { status, json } = await send(server, "POST", "/v2/logging", {
    log_info: false,
    log_warning: null,
  });
  t.is(status, 200);
  t.like(json, { log_info: false, log_warning: true, log_file: "" });
  await send(server, "POST", "/v2/repository/models/adder/unload");
  await until(() => lines().some(({ call }) => call === "RepositoryModelUnload"));
  const entries = lines();
  const last = entries.slice(entries.findIndex(({ call }) => call === "LogSettings"));
  t.deepEqual(
    last.map(({ msg }) => msg),
    ["control call", "control call"],
  );
  t.is((await send(server, "POST", "/v2/logging", { log_format: "text" })).status, 200);
  await send(server, "POST", "/v2/repository/models/adder/load");
  await until(() => /^\d\d:\d\d:\d\d INFO {2}control call/m.test(server.stderr()));
  t.pass();
});

test("all workers have the settings, one that comes later too, and each has a file of its own", async (t) => {
  const server = await start(t, "--workers", "2");
  const answers = (path: string, body?: object) =>
    Promise.all(Array.from({ length: 6 }, () => send(server, body ? "POST" : "GET", path, body)));
  await send(server, "POST", "/v2/trace/setting", {
    trace_level: "TIMESTAMPS",
    trace_rate: "1",
    trace_file: "t",
  });
  await send(server, "POST", "/v2/models/adder/trace/setting", { log_frequency: "1" });
  await send(server, "POST", "/v2/logging", { log_verbose_level: 1 });
  const isSet = async (): Promise<void> => {
    for (const { json } of await answers("/v2/models/adder/trace/setting"))
      t.like(json, { trace_level: ["TIMESTAMPS"], trace_rate: "1", log_frequency: "1" });
    for (const { json } of await answers("/v2/logging")) t.like(json, { log_verbose_level: 1 });
  };
  await isSet();
  await Promise.all(Array.from({ length: 6 }, (_, n) => infer(server, `r${n}`)));
  await until(async () => (await readdir(server.traces)).length === 6);
  const owners = (await readdir(server.traces)).map((name) => /worker-\d/.exec(name)?.[0]);
  t.deepEqual([...new Set(owners)].sort(), ["worker-1", "worker-2"]);

  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  const pid = Number(/tensorwire_worker_info\{worker="1",pid="(\d+)"/.exec(metrics)![1]);
  // The process that starts workers again has the settings too.
  await send(server, "POST", "/v2/logging", { log_error: false });
  process.kill(pid, "SIGKILL");
  await until(async () => {
    // The connection may be one to the worker that was killed.
    const text = await fetch(`${server.url}/metrics`).then(
      (answer) => answer.text(),
      () => "",
    );
    const now = /tensorwire_worker_info\{worker="1",pid="(\d+)"/.exec(text)?.[1];
    return now !== undefined && Number(now) !== pid && /workers_serving 2/.test(text);
  });
  await isSet();
  t.false(server.stderr().includes("a worker ended"), server.stderr());
});

test("settings of a setting that is wrong are refused with a sentence, over workers too", async (t) => {
  const server = await start(t, "--workers", "2");
  const { status, json } = await send(server, "POST", "/v2/trace/setting", {
    trace_rate: "5",
    trace_file: "/etc/passwd",
  });
  t.is(status, 400);
  t.regex(String(json.error), /the name of a file in the folder of --trace-dir/);
  t.like((await send(server, "GET", "/v2/trace/setting")).json, { trace_rate: "1000" });
});
