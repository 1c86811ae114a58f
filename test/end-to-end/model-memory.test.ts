import test, { type ExecutionContext } from "ava";
import { startCallers } from "../support/callers.ts";
import { type RunningServer, startCommand, startServer } from "../support/command.ts";
import {
  fp32Request,
  type GrpcJsClient,
  grpcJsClient,
  type Message,
} from "../support/grpc-js-client.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { weightInput, weightModel } from "../support/weight-model.ts";

const MiB = 2 ** 20;

interface Started {
  readonly server: RunningServer;
  readonly client: GrpcJsClient;
  readonly folder: string;
}

async function start(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>>,
  args: readonly string[],
): Promise<Started> {
  const folder = await temporaryFolder(t, files);
  const server = await startServer(t, [folder, ...args]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  return { server, client, folder };
}

async function ask(client: GrpcJsClient, model: string): Promise<number> {
  const x = weightInput();
  const answer = await client.call("ModelInfer", fp32Request(model, "x", [1, x.length], x));
  return (answer.raw_output_contents as Buffer[])[0]!.readFloatLE();
}

interface IndexRow {
  readonly name: string;
  readonly version: string;
  readonly state: string;
  readonly reason: string;
}

async function index(client: GrpcJsClient): Promise<IndexRow[]> {
  const { models } = await client.call("RepositoryIndex", {});
  return models as IndexRow[];
}

/** Values of a metric by model. */
async function metric(server: RunningServer, name: string): Promise<Record<string, number>> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const values: Record<string, number> = {};
  for (const [, model, value] of text.matchAll(
    new RegExp(`^${name}{model="([^"]+)"[^}]*} (\\S+)$`, "gm"),
  ))
    values[model!] = Number(value);
  return values;
}

test.serial(
  "lazy models are loaded by their first calls, once; what says that they are there says so before and after",
  async (t) => {
    const files = {
      "one/1/model.onnx": weightModel(1, 4),
      "two/1/model.onnx": weightModel(2, 4),
      "three/1/model.onnx": weightModel(3, 4),
    };
    const args = ["--model-loading", "lazy", "--preload-model", "three"];
    const { server, client } = await start(t, files, args);
    t.deepEqual(await client.call("ServerReady", {}), { ready: true });
    t.deepEqual(
      (await index(client)).map(({ name, state, reason }) => [name, state, reason]),
      [
        ["one", "READY", "not in memory: the next call loads it"],
        ["three", "READY", ""],
        ["two", "READY", "not in memory: the next call loads it"],
      ],
    );
    t.deepEqual(await client.call("ModelReady", { name: "one" }), { ready: true });
    const health = grpcJsClient(server.address, "grpc.health.v1.Health");
    t.teardown(() => health.close());
    t.is((await health.call("Check", { service: "one" })).status, "SERVING");
    t.deepEqual(Object.keys(await metric(server, "tensorwire_model_memory_bytes")), ["three"]);

    const clients = Array.from({ length: 4 }, () =>
      grpcJsClient(server.address, "inference.GRPCInferenceService", {
        "grpc.use_local_subchannel_pool": 1,
      }),
    );
    t.teardown(() => {
      for (const each of clients) each.close();
    });
    const answers = await Promise.all(
      Array.from({ length: 64 }, (_, call) => ask(clients[call % 4]!, "one")),
    );
    t.deepEqual(new Set(answers), new Set([1]));
    t.is((await metric(server, "tensorwire_model_recalls_total")).one, 1);
    t.is((await index(client)).find(({ name }) => name === "one")?.reason, "");
    t.is((await metric(server, "tensorwire_model_loading_requests")).one, 0);
    const { model_stats: stats } = await client.call("ModelStatistics", { name: "one" });
    const [{ inference_stats: times, memory_usage: usage }] = stats as [Message];
    t.is(((times as Message).success as Message).count, "64");
    const [{ type, byte_size: bytes }] = usage as [Message];
    t.is(type, "CPU");
    t.true(Number(bytes) >= 4 * MiB && Number(bytes) < 64 * MiB, `${bytes} bytes`);

    // Metadata of a model that was never loaded brings it in: only its file knows.
    const metadata = await client.call("ModelMetadata", { name: "two" });
    t.deepEqual(metadata.versions, ["1"]);
    t.is((await metric(server, "tensorwire_model_recalls_total")).two, 1);
  },
);

test.serial(
  "a stream brings its models in, and its answers keep the order of the requests",
  async (t) => {
    const { client } = await start(
      t,
      { "slow/1/model.onnx": weightModel(1, 8), "quick/1/model.onnx": addModel(2) },
      ["--model-loading", "lazy", "--preload-model", "quick"],
    );
    const stream = client.stream("ModelStreamInfer");
    const x = weightInput();
    for (let round = 0; round < 3; round++) {
      stream.write({ ...fp32Request("slow", "x", [1, x.length], x), id: `s${round}` });
      stream.write({ ...fp32Request("quick", "x", [1], Float32Array.of(0)), id: `q${round}` });
    }
    stream.end();
    const ids: string[] = [];
    for await (const { infer_response: response, error_message: error } of stream) {
      t.is(error, "");
      ids.push((response as Message).id as string);
    }
    t.deepEqual(ids, ["s0", "q0", "s1", "q1", "s2", "q2"]);
  },
);

test.serial(
  "with a limit every model is served, those that are in memory stay within it, and one that is larger is refused by name",
  async (t) => {
    const names = ["m1", "m2", "m3", "m4", "m5"];
    const files = Object.fromEntries(
      names.map((name, at) => [`${name}/1/model.onnx`, weightModel(at + 1, 12)]),
    );
    const limit = 40 * MiB;
    const { server, client } = await start(
      t,
      { ...files, "huge/1/model.onnx": weightModel(9, 48) },
      ["--model-memory-limit", "40MiB", "--pin-model", "m1", "--log-format", "json"],
    );
    for (let round = 0; round < 4; round++) {
      const answers = await Promise.all(
        names.flatMap((name) => [ask(client, name), ask(client, name), ask(client, name)]),
      );
      t.deepEqual(
        answers,
        names.flatMap((_, at) => [at + 1, at + 1, at + 1]),
      );
      const memory = await metric(server, "tensorwire_model_memory_bytes");
      const sum = Object.values(memory).reduce((total, bytes) => total + bytes, 0);
      t.true(sum > 12 * MiB && sum <= limit, `${sum} bytes in memory`);
      t.true("m1" in memory);
    }
    const evictions = await metric(server, "tensorwire_model_evictions_total");
    t.is(evictions.m1, 0);
    t.true(Object.values(evictions).reduce((sum, count) => sum + count) >= 4);
    const error = await t.throwsAsync(ask(client, "huge"), { message: /"huge" needs \d+ bytes/ });
    t.is((error as { code?: number }).code, 8);
    const rest = await fetch(`${server.url}/v2/repository/models/huge/load`, { method: "POST" });
    t.is(rest.status, 507);
    t.is(((await rest.json()) as Message).reason, "MODEL_MEMORY_EXCEEDED");
    const row = (await index(client)).find(({ name }) => name === "huge");
    t.is(row?.state, "UNAVAILABLE");
    t.regex(row?.reason ?? "", /models may take 41943040/);
    t.is(await ask(client, "m2"), 2);
  },
);

test.serial(
  "while calls of models that do not fit together never cease, each is answered, and rightly",
  async (t) => {
    const names = ["m1", "m2", "m3", "m4"];
    const files = Object.fromEntries(
      names.map((name, at) => [`${name}/1/model.onnx`, weightModel(at + 1, 12)]),
    );
    const { server, client } = await start(t, files, [
      "--model-memory-limit",
      "44MiB",
      "--model-loading",
      "lazy",
    ]);
    const loads = names.map((name) => startCallers(t, () => ask(client, name), 4));
    await Promise.all(loads.map((load) => load.more(40)));
    for (const [at, load] of loads.entries()) {
      const { begun, ended } = await load.stop();
      t.is(begun, ended);
      t.deepEqual(load.errors, new Map());
      t.deepEqual([...load.answers.keys()], [at + 1]);
    }
    const evictions = Object.values(await metric(server, "tensorwire_model_evictions_total"));
    t.true(evictions.reduce((sum, count) => sum + count) > 0);
    const memory = Object.values(await metric(server, "tensorwire_model_memory_bytes"));
    t.true(memory.reduce((sum, bytes) => sum + bytes) <= 44 * MiB);
  },
);

test.serial(
  "several workers each have their share of the limit, and tell of all their memory together",
  async (t) => {
    const files = {
      "one/1/model.onnx": weightModel(1, 8),
      "two/1/model.onnx": weightModel(2, 8),
    };
    const { client, server } = await start(t, files, [
      "--workers",
      "2",
      "--model-loading",
      "lazy",
      "--model-memory-limit",
      "160MiB",
    ]);
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_, call) => ask(client, call % 2 === 0 ? "one" : "two")),
    );
    t.deepEqual(
      answers,
      answers.map((_, call) => 1 + (call % 2)),
    );
    // RepositoryModelLoad has the model in every worker.
    await client.call("RepositoryModelLoad", { model_name: "one" });
    const { model_stats: stats } = await client.call("ModelStatistics", { name: "one" });
    const [{ memory_usage: usage }] = stats as [Message];
    t.true(Number((usage as [Message])[0].byte_size) >= 16 * MiB);
    const limit = await (await fetch(`${server.url}/metrics`)).text();
    t.regex(limit, /^tensorwire_model_memory_limit_bytes 167772160$/m);
  },
);

test.serial(
  "the start-up screen and tensorwire models tell of models on standby without loading them",
  async (t) => {
    const { server } = await start(
      t,
      { "a/1/model.onnx": addModel(1), "b/1/model.onnx": addModel(2) },
      ["--model-loading", "lazy", "--preload-model", "b"],
    );
    t.regex(server.stdout(), /Loaded by the first call: a\n/);
    const command = startCommand(t, ["models", "--url", server.url]);
    t.is(await command.ended, 0);
    t.regex(command.stdout(), /a +1 +READY *\n/);
    t.regex(command.stdout(), /b +1 +READY +x FP32/);
    t.regex(command.stdout(), /a 1: not in memory: the next call loads it/);
    t.is((await metric(server, "tensorwire_model_recalls_total")).a, 0);
  },
);
