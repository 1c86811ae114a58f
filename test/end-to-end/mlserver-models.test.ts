import test, { type ExecutionContext } from "ava";
import { type RunningServer, startServer } from "../support/command.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder, writeFiles } from "../support/temporary-folder.ts";

async function start(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>>,
  args: readonly string[] = [],
): Promise<{ readonly server: RunningServer; readonly folder: string }> {
  const folder = await temporaryFolder(t, files);
  return { server: await startServer(t, [folder, ...args]), folder };
}

async function get(server: RunningServer, path: string): Promise<Record<string, unknown>> {
  return (await (await fetch(`${server.url}${path}`)).json()) as Record<string, unknown>;
}

async function ask(server: RunningServer, path: string): Promise<Record<string, unknown>> {
  const inputs = [{ name: "x", datatype: "FP32", shape: [2], data: [1, 2] }];
  const body = JSON.stringify({ inputs });
  const response = await fetch(`${server.url}${path}/infer`, { method: "POST", body });
  return (await response.json()) as Record<string, unknown>;
}

const settings = (fields: object): string =>
  JSON.stringify({ implementation: "mlserver_onnx.OnnxModel", ...fields });

test("models of MLServer's repository are served under the names and versions of their settings", async (t) => {
  const { server } = await start(t, {
    "folder-a/model-settings.json": settings({
      name: "churn",
      parameters: { uri: "./model.onnx", version: "v0.3.0" },
      inputs: [{ name: "x", datatype: "FP32", shape: [-1] }],
    }),
    "folder-a/model.onnx": addModel(10),
    "unnamed/model-settings.json": settings({}),
    "unnamed/model.onnx": addModel(20),
    "elsewhere/model-settings.json": settings({ parameters: { uri: "../files/best.onnx" } }),
    "files/best.onnx": addModel(30),
    "many/first/model-settings.json": settings({ name: "many", parameters: { version: "1" } }),
    "many/first/model.onnx": addModel(1),
    "many/second/model-settings.json": settings({ name: "many", parameters: { version: "2" } }),
    "many/second/model.onnx": addModel(2),
    "sklearn/model-settings.json": JSON.stringify({
      implementation: "mlserver_sklearn.SKLearnModel",
    }),
    "triton/1/model.onnx": addModel(7),
  });
  const churn = await get(server, "/v2/models/churn");
  t.is(churn.name, "churn");
  t.deepEqual(churn.versions, ["v0.3.0"]);
  const answer = await ask(server, "/v2/models/churn/versions/v0.3.0");
  t.is(answer.model_name, "churn");
  t.is(answer.model_version, "v0.3.0");
  t.deepEqual((answer.outputs as { data: number[] }[])[0]?.data, [11, 12]);
  const value = async (path: string): Promise<number | undefined> =>
    ((await ask(server, path)).outputs as { data: number[] }[] | undefined)?.[0]?.data[0];
  t.is(await value("/v2/models/churn"), 11);
  t.is(await value("/v2/models/unnamed"), 21);
  t.is(await value("/v2/models/elsewhere"), 31);
  t.is(await value("/v2/models/triton"), 8);
  t.is(await value("/v2/models/many/versions/1"), 2);
  t.is(await value("/v2/models/many/versions/2"), 3);
  t.is(await value("/v2/models/many"), 3);
  const other = await ask(server, "/v2/models/churn/versions/v9");
  t.is(other.reason, "MODEL_VERSION_INVALID");

  const response = await fetch(`${server.url}/v2/repository/index`, { method: "POST" });
  const rows = (await response.json()) as { name: string; state: string; reason: string }[];
  const refused = rows.find(({ name }) => name === "sklearn");
  t.is(refused?.state, "UNAVAILABLE");
  t.regex(
    refused?.reason ?? "",
    /"mlserver_sklearn\.SKLearnModel", which this server does not run/,
  );
  t.is(rows.find(({ name }) => name === "churn")?.state, "READY");
});

test("adaptive batching shows as dynamic batching, and settings that disagree with the model are refused by their file", async (t) => {
  const { server, folder } = await start(t, {
    "m/model-settings.json": settings({
      max_batch_size: 8,
      max_batch_time: 0.002,
      parameters: { content_type: "np", extra: { owner: "team a" } },
    }),
    "m/model.onnx": addModel(1),
    "odd/model-settings.json": settings({ inputs: [{ name: "z", datatype: "FP32", shape: [-1] }] }),
    "odd/model.onnx": addModel(1),
  });
  const config = await get(server, "/v2/models/m/config");
  const batching = config.dynamic_batching as Record<string, unknown>;
  t.deepEqual(batching.preferred_batch_size, [8]);
  t.is(Number(batching.max_queue_delay_microseconds), 2000);
  t.deepEqual(config.parameters, {
    content_type: { string_value: "np" },
    owner: { string_value: "team a" },
  });
  // A call may have more rows than are gathered, as in MLServer.
  const data = Array.from({ length: 20 }, (_, at) => at);
  const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [20], data }] });
  const response = await fetch(`${server.url}/v2/models/m/infer`, { method: "POST", body });
  t.is(response.status, 200);
  const odd = await ask(server, "/v2/models/odd");
  t.regex(odd.error as string, /model-settings\.json names input "z", the model has "x"/);

  await writeFiles(folder, { "odd/model-settings.json": settings({}) });
  const loaded = await fetch(`${server.url}/v2/repository/models/odd/load`, { method: "POST" });
  t.is(loaded.status, 200);
});

test("a folder that is one model of MLServer has its name, or that of --model-name", async (t) => {
  const files = {
    "model-settings.json": settings({ name: "alone" }),
    "model.onnx": addModel(1),
  };
  const { server } = await start(t, files);
  t.is((await get(server, "/v2/models/alone")).name, "alone");
  const named = await start(t, files, ["--model-name", "churn"]);
  t.is((await get(named.server, "/v2/models/churn")).name, "churn");
});
