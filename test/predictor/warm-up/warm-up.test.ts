import { readFile } from "node:fs/promises";
import test, { type ExecutionContext } from "ava";
import { startServer } from "../../support/command.ts";
import { type GrpcJsClient, grpcJsClient, type Message } from "../../support/grpc-js-client.ts";
import { onnxModel, tensorInfo } from "../../support/onnx-model.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

const float = 1;
const int64 = 7;

/** Element `index` of the ten constants 0, 10, 20 and so on: an index from 10 on fails. */
function tableModel(): Uint8Array {
  return onnxModel({
    node: [{ opType: "Gather", input: ["table", "index"], output: ["y"] }],
    initializer: [
      {
        name: "table",
        dims: [10n],
        dataType: float,
        floatData: Array.from({ length: 10 }, (_, at) => at * 10),
      },
    ],
    input: [tensorInfo("index", int64, [1])],
    output: [tensorInfo("y", float, [1])],
  });
}

const indexFile = (value: bigint): Uint8Array => new Uint8Array(BigInt64Array.of(value).buffer);

const warmUp = (data: string): string =>
  `model_warmup { name: "first" batch_size: 1 count: 3 inputs { key: "index" value { data_type: TYPE_INT64 dims: [ 1 ] ${data} } } }`;

async function start(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<GrpcJsClient> {
  const folder = await temporaryFolder(t, files);
  const server = await startServer(t, [folder]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  return client;
}

async function rowOf(client: GrpcJsClient, name: string): Promise<Message> {
  const { models } = await client.call("RepositoryIndex", {});
  return (models as Message[]).find((row) => row.name === name)!;
}

test("a model is warmed up by its samples; one whose sample fails is not loaded, and says which", async (t) => {
  const client = await start(t, {
    "good/1/model.onnx": tableModel(),
    "good/config.pbtxt": warmUp('input_data_file: "nine"'),
    "good/warmup/nine": indexFile(9n),
    "bad/1/model.onnx": tableModel(),
    "bad/config.pbtxt": warmUp('input_data_file: "ten"'),
    "bad/warmup/ten": indexFile(10n),
  });
  t.deepEqual(await client.call("ModelReady", { name: "good" }), { ready: true });
  t.deepEqual(await client.call("ModelReady", { name: "bad" }), { ready: false });
  const row = await rowOf(client, "bad");
  t.is(row.state, "UNAVAILABLE");
  t.regex(row.reason as string, /model_warmup "first" failed: .*indices/);
  // The runs are nobody's calls.
  const { model_stats: stats } = await client.call("ModelStatistics", { name: "good" });
  t.is((stats as Message[])[0]!.execution_count, "0");
});

/** Writes a line for each call. */
const countingModel = `
import { appendFileSync } from "node:fs";
import { defineModel, tensor } from "tensorwire/model";
export default defineModel({
  inputs: { x: { datatype: "FP32", shape: [2] } },
  outputs: { y: { datatype: "FP32", shape: [2] } },
  async infer({ x }) {
    appendFileSync(new URL("./calls", import.meta.url), x.data.join() + "\\n");
    return { y: tensor([2], x.data) };
  },
});
`;

test("an ensemble and a model in TypeScript run their samples as calls", async (t) => {
  const x = (name: string, data: string): string =>
    `inputs { key: "${name}" value { data_type: TYPE_FP32 dims: [ 2 ] ${data} } }`;
  const folder = await temporaryFolder(t, {
    "plain/1/model.ts": countingModel,
    "plain/config.pbtxt": `model_warmup { name: "w" batch_size: 1 count: 2 ${x("x", 'input_data_file: "values"')} }`,
    "plain/warmup/values": new Uint8Array(Float32Array.of(1, 2).buffer),
    "graph/config.pbtxt": `platform: "ensemble"
input { name: "in" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "out" data_type: TYPE_FP32 dims: [ 2 ] }
ensemble_scheduling { step { model_name: "plain" model_version: -1 input_map { key: "x" value: "in" } output_map { key: "y" value: "out" } } }
model_warmup { name: "w" batch_size: 1 ${x("in", "zero_data: true")} }`,
  });
  const server = await startServer(t, [folder]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  t.deepEqual(await client.call("ModelReady", { name: "graph" }), { ready: true });
  const calls = (await readFile(`${folder}/plain/1/calls`, "utf8")).trim().split("\n");
  t.deepEqual(calls, ["1,2", "1,2", "0,0"]);
});
