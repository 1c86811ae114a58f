import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { grpcJsClient } from "../support/grpc-js-client.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";
import { weightInput, weightModel } from "../support/weight-model.ts";

const cached = "response_cache { enable: true }";

const counter = `import { defineModel, tensor } from "tensorwire/model";
let calls = 0;
export default defineModel({
  inputs: { x: { datatype: "INT32", shape: [1] } },
  outputs: { y: { datatype: "INT32", shape: [1] } },
  infer: () => ({ y: tensor([1], Int32Array.of(++calls)) }),
});
`;

const decoupled = `import { defineModel, tensor } from "tensorwire/model";
export default defineModel({
  inputs: { x: { datatype: "INT32", shape: [1] } },
  outputs: { y: { datatype: "INT32", shape: [1] } },
  async *infer() { yield { y: tensor([1], Int32Array.of(1)) }; },
});
`;

const ensemble = `platform: "ensemble" ${cached}
input { name: "x" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "y" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling { step {
  model_name: "plain" model_version: -1
  input_map { key: "x" value: "x" } output_map { key: "y" value: "y" }
} }`;

/** Sums its input; a call with 0 in front waits until there is a file `release` in the folder above. */
const summer = `import { access } from "node:fs/promises";
import { join } from "node:path";
import { defineModel, tensor } from "tensorwire/model";

export default defineModel({
  inputs: { x: { datatype: "UINT8", shape: [-1] } },
  outputs: { y: { datatype: "INT32", shape: [1] } },
  concurrency: 1,
  load: ({ folder }) => ({ release: join(folder, "../release") }),
  async infer({ x }, { state }) {
    if (x.data[0] === 0) {
      while (await access(state.release).then(() => false, () => true)) {
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    }
    return { y: tensor([1], Int32Array.of(x.data.reduce((sum, value) => sum + value, 0))) };
  },
});
`;

interface Fixture {
  readonly server: RunningServer;
  readonly folder: string;
}

async function start(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>>,
  ...flags: readonly string[]
): Promise<Fixture> {
  const folder = await temporaryFolder(t, files);
  return { folder, server: await startServer(t, [folder, ...flags]) };
}

async function json(url: string, body?: object): Promise<Record<string, never>> {
  const response = await fetch(url, body && { method: "POST", body: JSON.stringify(body) });
  const text = await response.text();
  if (!response.ok) throw new Error(text);
  return JSON.parse(text);
}

async function ask(
  { server }: Fixture,
  model: string,
  value: number,
  more: object = {},
): Promise<number> {
  const datatype = model === "counter" ? "INT32" : "FP32";
  const inputs = [{ name: "x", datatype, shape: [1], data: [value] }];
  const { outputs } = await json(`${server.url}/v2/models/${model}/infer`, { inputs, ...more });
  const [output] = outputs as unknown as { data: number[] }[];
  return output!.data[0]!;
}

interface Count {
  readonly count: number;
  readonly ns: number;
}

interface Statistics {
  readonly inference_count: number;
  readonly execution_count: number;
  readonly inference_stats: Readonly<Record<string, Count>>;
}

async function statistics({ server }: Fixture, model: string): Promise<Statistics> {
  const { model_stats } = await json(`${server.url}/v2/models/${model}/stats`);
  return (model_stats as unknown as Statistics[])[0]!;
}

async function metric({ server }: Fixture, series: string): Promise<number> {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  const line = text.split("\n").find((each) => each.startsWith(`${series} `));
  return Number(line?.slice(series.length + 1));
}

async function isCached({ server }: Fixture, model: string): Promise<boolean> {
  const config: { response_cache?: { enable?: boolean } } = await json(
    `${server.url}/v2/models/${model}/config`,
  );
  return config.response_cache?.enable === true;
}

test("a model whose configuration asks for it is cached; statistics and metrics tell hits from runs", async (t) => {
  const fixture = await start(
    t,
    {
      "m/config.pbtxt": cached,
      "m/1/model.onnx": addModel(1),
      "plain/1/model.onnx": addModel(1),
    },
    "--response-cache-size",
    "1MiB",
  );
  for (const value of [1, 1, 2, 1]) t.is(await ask(fixture, "m", value), value + 1);
  for (const value of [1, 1]) t.is(await ask(fixture, "plain", value), 2);
  // The answer is kept as the model gave it: classification comes after.
  const outputs = [{ name: "y", parameters: { classification: 1 } }];
  t.is((await ask(fixture, "m", 1, { outputs })) as unknown, "2.000000:0");
  const { inference_count, execution_count, inference_stats } = await statistics(fixture, "m");
  t.is(inference_count, 2);
  t.is(execution_count, 2);
  t.is(inference_stats.success!.count, 5);
  t.is(inference_stats.queue!.count, 5);
  t.is(inference_stats.compute_infer!.count, 2);
  t.is(inference_stats.cache_hit!.count, 3);
  t.is(inference_stats.cache_miss!.count, 2);
  t.true(inference_stats.cache_hit!.ns > 0);
  t.true(inference_stats.cache_miss!.ns > 0);
  const labels = '{model="m",version="1"}';
  t.is(await metric(fixture, `nv_cache_num_hits_per_model${labels}`), 3);
  t.is(await metric(fixture, `nv_cache_num_misses_per_model${labels}`), 2);
  t.is(await metric(fixture, `nv_inference_request_success${labels}`), 5);
  t.is(await metric(fixture, `nv_inference_count${labels}`), 2);
  const histogram = "tensorwire_inference_compute_duration_seconds_count";
  t.is(await metric(fixture, `${histogram}${labels}`), 2);
  t.is(await metric(fixture, "tensorwire_response_cache_entries"), 2);
  t.is(await metric(fixture, "tensorwire_response_cache_bytes"), 2 * (512 + 512 + 4));
  t.is(await metric(fixture, "tensorwire_response_cache_limit_bytes"), 1024 * 1024);
  t.true(
    Number.isNaN(await metric(fixture, 'nv_cache_num_hits_per_model{model="plain",version="1"}')),
  );
  t.true(await isCached(fixture, "m"));
  t.false(await isCached(fixture, "plain"));
});

test("a model that is loaded again has none of its old answers, nor has an ensemble made of it", async (t) => {
  const fixture = await start(
    t,
    {
      "m/config.pbtxt": cached,
      "m/1/model.onnx": addModel(1),
      "plain/1/model.onnx": addModel(10),
      "graph/config.pbtxt": ensemble,
    },
    "--response-cache-size",
    "1MiB",
  );
  const { server, folder } = fixture;
  for (let time = 0; time < 2; time++) {
    t.is(await ask(fixture, "m", 5), 6);
    t.is(await ask(fixture, "graph", 5), 15);
  }
  t.is((await statistics(fixture, "graph")).execution_count, 1);
  await writeFile(join(folder, "m/1/model.onnx"), addModel(2));
  await writeFile(join(folder, "plain/1/model.onnx"), addModel(20));
  await json(`${server.url}/v2/repository/models/m/load`, {});
  await json(`${server.url}/v2/repository/models/plain/load`, {});
  t.is(await ask(fixture, "m", 5), 7);
  t.is(await ask(fixture, "graph", 5), 25);
  await json(`${server.url}/v2/repository/models/m/unload`, {});
  await json(`${server.url}/v2/repository/models/graph/unload`, {});
  t.is(await metric(fixture, "tensorwire_response_cache_entries"), 0);
  t.is(await metric(fixture, "tensorwire_response_cache_bytes"), 0);
});

test("a model that made room for another has lost its answers, and none of its counts", async (t) => {
  const fixture = await start(
    t,
    {
      "one/1/model.onnx": weightModel(1, 12),
      "two/1/model.onnx": weightModel(2, 12),
      "three/1/model.onnx": weightModel(3, 12),
    },
    ...["--response-cache-size", "1MiB", "--response-cache-models", "all"],
    ...["--model-memory-limit", "34MiB", "--model-loading", "lazy"],
  );
  const x = weightInput();
  const inputs = [{ name: "x", datatype: "FP32", shape: [1, x.length], data: [...x] }];
  const askWeight = async (model: string): Promise<number> => {
    const { outputs } = await json(`${fixture.server.url}/v2/models/${model}/infer`, { inputs });
    return (outputs as unknown as { data: number[] }[])[0]!.data[0]!;
  };
  const evictions = () => metric(fixture, 'tensorwire_model_evictions_total{model="one"}');
  const counts = async (model: string): Promise<number[]> => {
    const { inference_stats } = await statistics(fixture, model);
    return [inference_stats.cache_hit!.count, inference_stats.cache_miss!.count];
  };
  t.is(await askWeight("one"), 1);
  t.is(await askWeight("one"), 1);
  t.deepEqual(await counts("one"), [1, 1]);
  t.is(await askWeight("two"), 2);
  t.is(await askWeight("three"), 3);
  t.is(await evictions(), 1);
  t.deepEqual(await counts("one"), [1, 1]);
  t.is(await metric(fixture, 'nv_cache_num_hits_per_model{model="one",version="1"}'), 1);
  t.is(await askWeight("one"), 1);
  t.deepEqual(await counts("one"), [1, 2]);
});

test("with --response-cache-models all, models that compute are cached, and others if they ask", async (t) => {
  const fixture = await start(
    t,
    {
      "plain/1/model.onnx": addModel(1),
      "never/config.pbtxt": "response_cache { enable: false }",
      "never/1/model.onnx": addModel(1),
      "counter/1/model.ts": counter,
    },
    "--response-cache-size",
    "1MiB",
    "--response-cache-models",
    "all",
  );
  t.true(await isCached(fixture, "plain"));
  t.false(await isCached(fixture, "never"));
  t.is(await ask(fixture, "counter", 5), 1);
  t.is(await ask(fixture, "counter", 5), 2);
  await writeFile(join(fixture.folder, "counter/config.pbtxt"), cached);
  await json(`${fixture.server.url}/v2/repository/models/counter/load`, {});
  t.is(await ask(fixture, "counter", 5), 1);
  t.is(await ask(fixture, "counter", 5), 1);
  // What a model in TypeScript is told beside its inputs is part of the call.
  t.is(await ask(fixture, "counter", 5, { parameters: { mode: "other" } }), 2);
});

test("a caller that leaves takes its message along, and not the inputs of the run that others wait for", async (t) => {
  const fixture = await start(
    t,
    { "sum/config.pbtxt": cached, "sum/1/model.ts": summer },
    "--response-cache-size",
    "1MiB",
  );
  const client = grpcJsClient(fixture.server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  const size = 256 * 1024;
  const ask = (value: number, name = "sum") =>
    client.begin("ModelInfer", {
      model_name: name,
      inputs: [{ name: "x", datatype: "UINT8", shape: [size] }],
      raw_input_contents: [Buffer.alloc(size, value)],
    });
  const waiting = 'nv_inference_pending_request_count{model="sum",version="1"}';
  const blocker = ask(0);
  await until(
    async () =>
      (await metric(fixture, 'tensorwire_model_running_requests{model="sum",version="1"}')) === 1,
  );
  const [leader, follower] = [ask(1), ask(1)];
  await until(async () => (await metric(fixture, waiting)) === 2);
  leader.cancel();
  await t.throwsAsync(leader.answer, { message: /CANCELLED/ });
  await until(async () => (await metric(fixture, waiting)) === 1);
  // Their messages lie where the one before lay.
  for (let time = 0; time < 4; time++) {
    await t.throwsAsync(ask(9, "absent").answer, { message: /NOT_FOUND/ });
  }
  await writeFile(join(fixture.folder, "sum/release"), "");
  await blocker.answer;
  const { raw_output_contents } = await follower.answer;
  t.is((raw_output_contents as Buffer[])[0]!.readInt32LE(), size);
});

test("a model with any number of answers cannot be cached, and one is not cached without a cache", async (t) => {
  const fixture = await start(t, {
    "m/config.pbtxt": cached,
    "m/1/model.onnx": addModel(1),
    "stream/config.pbtxt": cached,
    "stream/1/model.ts": decoupled,
  });
  t.false(await isCached(fixture, "m"));
  await until(() => /response-cache-size is 0/.test(fixture.server.stderr()));
  const index = await fetch(`${fixture.server.url}/v2/repository/index`, { method: "POST" });
  const rows = (await index.json()) as { name: string; state: string; reason: string }[];
  const row = rows.find(({ name }) => name === "stream");
  t.is(row?.state, "UNAVAILABLE");
  t.regex(row?.reason ?? "", /response_cache \{ enable: true \}, and its answers cannot be kept/);
});
