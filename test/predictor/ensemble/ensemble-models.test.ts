import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../../support/command.ts";
import {
  fp32Request,
  type GrpcJsClient,
  grpcJsClient,
  type Message,
} from "../../support/grpc-js-client.ts";
import { addModel, onnxModel, tensorInfo } from "../../support/onnx-model.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const float = 1;

/** `sum` is a + b, and `bottom` the lesser of them. */
function twoModel(): Uint8Array {
  return onnxModel({
    node: [
      { opType: "Add", input: ["a", "b"], output: ["sum"] },
      { opType: "Min", input: ["a", "b"], output: ["bottom"] },
    ],
    input: [tensorInfo("a", float, ["n"]), tensorInfo("b", float, ["n"])],
    output: [tensorInfo("sum", float, ["n"]), tensorInfo("bottom", float, ["n"])],
  });
}

const step = (model: string, inputs: Record<string, string>, outputs: Record<string, string>) => {
  const entries = (field: string, map: Record<string, string>): string =>
    Object.entries(map)
      .map(([key, value]) => `${field} { key: "${key}" value: "${value}" }`)
      .join(" ");
  return `step { model_name: "${model}" model_version: -1 ${entries("input_map", inputs)} ${entries("output_map", outputs)} }`;
};

const ports = `input { name: "in" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "out" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "least" data_type: TYPE_FP32 dims: [ -1 ] }`;

const ensemble = (...steps: readonly string[]): string =>
  `platform: "ensemble"\n${ports}\nensemble_scheduling { ${steps.join("\n")} }`;

/** in + 1 by two ways, in + 11 and in + 101, added: 2 in + 112. */
const diamond = ensemble(
  step("two", { a: "l", b: "r" }, { sum: "out", bottom: "least" }),
  step("plus10", { x: "middle" }, { y: "l" }),
  step("plus100", { x: "middle" }, { y: "r" }),
  step("plus1", { x: "in" }, { y: "middle" }),
);

const files = {
  "plus1/1/model.onnx": addModel(1),
  "plus10/1/model.onnx": addModel(10),
  "plus100/1/model.onnx": addModel(100),
  "two/1/model.onnx": twoModel(),
  "graph/config.pbtxt": diamond,
};

interface Started {
  readonly server: RunningServer;
  readonly client: GrpcJsClient;
  readonly folder: string;
}

async function start(
  t: ExecutionContext,
  given: Readonly<Record<string, string | Uint8Array>>,
  ...args: readonly string[]
): Promise<Started> {
  const folder = await temporaryFolder(t, given);
  const server = await startServer(t, [folder, ...args]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  return { server, client, folder };
}

function values(answer: Message, name: string): number[] {
  const outputs = answer.outputs as { name: string }[];
  const index = outputs.findIndex((output) => output.name === name);
  const bytes = Uint8Array.from((answer.raw_output_contents as Buffer[])[index]!);
  return [...new Float32Array(bytes.buffer)];
}

const ask = (client: GrpcJsClient, model: string, given: readonly number[]): Promise<Message> =>
  client.call("ModelInfer", fp32Request(model, "in", [given.length], Float32Array.from(given)));

const countOf = async (client: GrpcJsClient, name: string): Promise<number> => {
  const { model_stats: stats } = await client.call("ModelStatistics", { name });
  return Number((stats as { inference_count: string }[])[0]!.inference_count);
};

test("a graph of models answers as one model, over gRPC and REST, small and large", async (t) => {
  const { client, server } = await start(t, files);
  const answer = await ask(client, "graph", [1, 2.5, -300]);
  t.deepEqual(values(answer, "out"), [114, 117, -488]);
  t.deepEqual(values(answer, "least"), [12, 13.5, -289]);

  const many = Array.from({ length: 100_000 }, (_, index) => index);
  const large = await ask(client, "graph", many);
  t.true(values(large, "out").every((value, index) => value === 2 * index + 112));

  const url = `http://${server.address}/v2/models/graph`;
  const body = {
    inputs: [{ name: "in", datatype: "FP32", shape: [2], data: [0, 1] }],
    outputs: [{ name: "least" }],
  };
  const rest = await fetch(`${url}/infer`, { method: "POST", body: JSON.stringify(body) });
  const { outputs } = (await rest.json()) as { outputs: { name: string; data: number[] }[] };
  t.deepEqual(
    outputs.map(({ name, data }) => [name, data]),
    [["least", [11, 12]]],
  );
  const metadata = (await (await fetch(url)).json()) as { platform: string };
  t.is(metadata.platform, "ensemble");
  const { config } = await client.call("ModelConfig", { name: "graph" });
  t.is(((config as Message).ensemble_scheduling as { step: unknown[] }).step.length, 4);
});

test("calls at once go through the batches of the steps, and every model counts its own", async (t) => {
  const { client } = await start(t, files);
  const answers = await Promise.all(
    Array.from({ length: 300 }, async (_, index) =>
      values(await ask(client, "graph", [index]), "out"),
    ),
  );
  t.deepEqual(
    answers.map(([value]) => value),
    answers.map((_, index) => 2 * index + 112),
  );
  for (const model of ["graph", "plus1", "plus10", "plus100", "two"]) {
    t.is(await countOf(client, model), 300, model);
  }
});

test("a step that is unloaded fails the ensemble alone; loading the ensemble again brings it back", async (t) => {
  const { client } = await start(
    t,
    files,
    "--model-control-mode",
    "explicit",
    "--load-model",
    "graph",
  );
  t.is(values(await ask(client, "graph", [0]), "out")[0], 112);
  await client.call("RepositoryModelUnload", { model_name: "plus10" });
  const error = await t.throwsAsync(ask(client, "graph", [0]));
  t.regex(error?.message ?? "", /UNAVAILABLE.*ensemble "graph": step "plus10" failed/);
  await client.call("RepositoryModelLoad", { model_name: "graph" });
  t.is(values(await ask(client, "graph", [0]), "out")[0], 112);
});

test("unload_dependents unloads the models of an ensemble too, save those that another one has", async (t) => {
  const other = `platform: "ensemble"
input { name: "in" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "out" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling { ${step("plus1", { x: "in" }, { y: "out" })} }`;
  const { client } = await start(t, { ...files, "other/config.pbtxt": other });
  await client.call("RepositoryModelUnload", {
    model_name: "graph",
    parameters: { unload_dependents: { bool_param: true } },
  });
  const { models } = await client.call("RepositoryIndex", {});
  const states = (models as { name: string; state: string }[]).map(
    ({ name, state }) => `${name} ${state}`,
  );
  t.deepEqual(states.toSorted(), [
    "graph UNAVAILABLE",
    "other READY",
    "plus1 READY",
    "plus10 UNAVAILABLE",
    "plus100 UNAVAILABLE",
    "two UNAVAILABLE",
  ]);
});

test("ensembles of ensembles load in any order; circles and missing models say so", async (t) => {
  const nested = (model: string): string =>
    ensemble(step(model, { in: "in" }, { out: "out", least: "least" }));
  const { client } = await start(
    t,
    {
      ...files,
      "a_outer/config.pbtxt": nested("graph"),
      "b_round/config.pbtxt": nested("c_round"),
      "c_round/config.pbtxt": nested("b_round"),
      "self/config.pbtxt": nested("self"),
      "lacking/config.pbtxt": nested("nobody"),
    },
    "--strict-readiness=false",
  );
  t.is(values(await ask(client, "a_outer", [1]), "out")[0], 114);
  const { models } = await client.call("RepositoryIndex", {});
  const reasons = new Map(
    (models as { name: string; reason: string }[]).map(({ name, reason }) => [name, reason]),
  );
  t.regex(reasons.get("self") ?? "", /step "self" that is made of "self" itself/);
  t.regex(reasons.get("lacking") ?? "", /step "nobody", which is not in the repository/);
  const round = [reasons.get("b_round"), reasons.get("c_round")].join("\n");
  t.regex(round, /that is made of "[bc]_round" itself/);
});

test("an ensemble whose tensors do not fit its models is refused with the place", async (t) => {
  const bad = diamond.replace(
    'name: "in" data_type: TYPE_FP32',
    'name: "in" data_type: TYPE_INT32',
  );
  const { client } = await start(
    t,
    { ...files, "bad/config.pbtxt": bad },
    "--strict-readiness=false",
  );
  const { models } = await client.call("RepositoryIndex", {});
  const row = (models as { name: string; reason: string }[]).find(({ name }) => name === "bad");
  t.regex(row?.reason ?? "", /step 4 \(plus1\) take "in" \(INT32 .*input "x" \(FP32/);
  t.is(values(await ask(client, "graph", [0]), "out")[0], 112);
});
