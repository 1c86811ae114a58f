import { createHash } from "node:crypto";
import { copyFile, mkdir, open as openFile, rm } from "node:fs/promises";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { startCallers } from "../support/callers.ts";
import { startServer } from "../support/command.ts";
import { fp32Request, type GrpcJsClient, grpcJsClient } from "../support/grpc-js-client.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder, writeFiles } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

async function start(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>>,
  args: readonly string[],
): Promise<{ readonly client: GrpcJsClient; readonly folder: string }> {
  const folder = await temporaryFolder(t, files);
  const server = await startServer(t, [folder, ...args]);
  const client = grpcJsClient(server.address, "inference.GRPCInferenceService");
  t.teardown(() => client.close());
  return { client, folder };
}

async function ask(client: GrpcJsClient, model: string): Promise<number> {
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

test.serial(
  "a corrupt file loaded while calls run leaves the old model answering every one of them",
  async (t) => {
    const { client, folder } = await start(t, { "m/1/model.onnx": addModel(1) }, []);
    const load = startCallers(t, () => ask(client, "m"), 8);
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
    const load = startCallers(t, () => ask(client, "m"), 8);
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
    const load = startCallers(t, () => ask(client, "m"), 8);
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
