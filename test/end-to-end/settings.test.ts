import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

/** Starts a server on a folder with one model, `adder`, and a folder for traces. */
async function start(
  t: ExecutionContext,
  ...flags: readonly string[]
): Promise<RunningServer & { readonly traces: string }> {
  const models = await temporaryFolder(t, { "adder/1/model.onnx": addModel(1) });
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
  process.kill(pid, "SIGKILL");
  await until(async () => {
    const text = await (await fetch(`${server.url}/metrics`)).text();
    const now = /tensorwire_worker_info\{worker="1",pid="(\d+)"/.exec(text)?.[1];
    return now !== undefined && Number(now) !== pid && /workers_serving 2/.test(text);
  });
  await isSet();
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
