import { createHash } from "node:crypto";
import { copyFile, mkdir, open as openFile, rm } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import {
  fp32Request,
  type GrpcJsClient,
  grpcJsClient,
  type Message,
} from "../support/grpc-js-client.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder, writeFiles } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";
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

async function askAdd(client: GrpcJsClient, model: string): Promise<number> {
  const request = fp32Request(model, "x", [1], Float32Array.of(0));
  const answer = await client.call("ModelInfer", request);
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

/** Calls of a model that never cease until they are told to, each accounted for. */
function callers(t: ExecutionContext, client: GrpcJsClient, model: string, width: number) {
  const answers = new Map<number, number>();
  const errors = new Map<string, number>();
  const count = <K>(counts: Map<K, number>, key: K): void => {
    counts.set(key, (counts.get(key) ?? 0) + 1);
  };
  let going = true;
  let begun = 0;
  let ended = 0;
  const caller = async (): Promise<void> => {
    while (going) {
      begun++;
      try {
        count(answers, await askAdd(client, model));
      } catch (error) {
        count(errors, (error as Error).message);
      }
      ended++;
    }
  };
  const all = Array.from({ length: width }, caller);
  t.teardown(() => {
    going = false;
  });
  return {
    answers,
    errors,
    /** Waits until so many more calls were answered. */
    async more(calls: number): Promise<void> {
      const goal = ended + calls;
      await until(() => ended >= goal);
    },
    async stop(): Promise<{ readonly begun: number; readonly ended: number }> {
      going = false;
      await Promise.all(all);
      return { begun, ended };
    },
  };
}

test.serial(
  "a corrupt file loaded while calls run leaves the old model answering every one of them",
  async (t) => {
    const { client, folder } = await start(t, { "m/1/model.onnx": addModel(1) }, []);
    const load = callers(t, client, "m", 8);
    await load.more(50);
    for (let round = 0; round < 3; round++) {
      const junk = Buffer.from(createHash("sha512").update(`${round}`).digest("hex").repeat(50));
      await writeFiles(folder, { "m/1/model.onnx": junk, [`m/${round + 2}/model.onnx`]: junk });
      await t.throwsAsync(client.call("RepositoryModelLoad", { model_name: "m" }), {
        message: /model "m" failed to load/,
      });
      await load.more(50);
    }
    const rows = (await index(client)).filter(({ name }) => name === "m");
    t.deepEqual(
      rows.map(({ version, state }) => [version, state]),
      [
        ["1", "READY"],
        ["2", "UNAVAILABLE"],
        ["3", "UNAVAILABLE"],
        ["4", "UNAVAILABLE"],
      ],
    );
    t.regex(rows[3]!.reason, /failed to load/);
    await writeFiles(folder, { "m/9/model.onnx": addModel(9) });
    await client.call("RepositoryModelLoad", { model_name: "m" });
    await load.more(50);
    const { begun, ended } = await load.stop();
    t.is(begun, ended);
    t.deepEqual(load.errors, new Map());
    t.deepEqual([...load.answers.keys()].sort(), [1, 9]);
  },
);

test.serial(
  "a model whose files go while it serves answers on; a load says what is missing; with files again it is loaded",
  async (t) => {
    const { client, folder } = await start(t, { "m/1/model.onnx": addModel(1) }, []);
    const load = callers(t, client, "m", 8);
    await load.more(50);
    await rm(join(folder, "m"), { recursive: true });
    await load.more(50);
    await t.throwsAsync(client.call("RepositoryModelLoad", { model_name: "m" }), {
      message: /model "m"/,
    });
    await load.more(50);
    await writeFiles(folder, { "m/1/model.onnx": addModel(5) });
    await client.call("RepositoryModelLoad", { model_name: "m" });
    await load.more(50);
    const { begun, ended } = await load.stop();
    t.is(begun, ended);
    t.deepEqual(load.errors, new Map());
    t.deepEqual([...load.answers.keys()].sort(), [1, 5]);
  },
);

test.serial(
  "a version that is copied slowly while the folder is followed is not seen before it is whole",
  async (t) => {
    const { client, folder } = await start(t, { "m/1/model.onnx": addModel(1) }, [
      "--model-control-mode",
      "poll",
      "--repository-poll-interval",
      "300ms",
    ]);
    const load = callers(t, client, "m", 8);
    await load.more(20);
    const source = await temporaryFolder(t, { "model.onnx": addModel(2) });
    const bytes = Buffer.from(addModel(2));
    await mkdir(join(folder, "m/2"));
    const file = await openFile(join(folder, "m/2/model.onnx"), "w");
    // Each look at the folder finds another size.
    for (const byte of bytes.subarray(0, 60)) {
      await file.write(Buffer.of(byte));
      await load.more(8);
    }
    await file.close();
    t.deepEqual(
      (await index(client)).map(({ version, state }) => [version, state]),
      [["1", "READY"]],
    );
    await copyFile(join(source, "model.onnx"), join(folder, "m/2/model.onnx"));
    await until(() => load.answers.has(2));
    const { begun, ended } = await load.stop();
    t.is(begun, ended);
    t.deepEqual(load.errors, new Map());
    t.deepEqual([...load.answers.keys()].sort(), [1, 2]);
  },
);
