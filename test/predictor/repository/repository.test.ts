import { rm } from "node:fs/promises";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import test, { type ExecutionContext } from "ava";
import { ModelInferRequestSchema } from "../../../gen/inference/grpc_service_pb.ts";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { TraceControl } from "../../../server/observability/trace-control.ts";
import { OnnxModel } from "../../../server/predictor/engines/onnx/onnx-model.ts";
import { cpuSettings } from "../../../server/predictor/engines/onnx/session-settings.ts";
import { WorkerPool } from "../../../server/predictor/engines/onnx/worker-pool.ts";
import { Repository } from "../../../server/predictor/repository/repository.ts";
import { afterMs } from "../../../server/predictor/turn-end.ts";
import { localCall } from "../../support/call-context.ts";
import { addModel } from "../../support/onnx-model.ts";
import { recordingLog } from "../../support/silent-log.ts";
import { temporaryFolder, writeFiles } from "../../support/temporary-folder.ts";

interface Fixture {
  readonly folder: string;
  readonly repository: Repository;
  readonly readiness: (readonly [string, boolean])[];
}

async function open(
  t: ExecutionContext,
  files: Readonly<Record<string, string | Uint8Array>>,
): Promise<Fixture> {
  const folder = await temporaryFolder(t, files);
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  const repository = new Repository({
    paths: [folder],
    modelName: undefined,
    openOnnx: ({ model, path }) =>
      OnnxModel.load(
        pool,
        {
          session: { model, path, intraOpThreads: 1 },
          instances: [cpuSettings],
          execution: "worker",
        },
        log,
      ),
    backend: () => {
      throw new Error("no model here calls the server");
    },
    memory: {
      limitBytes: 0,
      pinned: [],
      loadTimeoutMs: 60_000,
      maxWaitingCalls: 8,
      now: () => performance.now(),
      after: afterMs,
    },
    maxQueueSize: 8,
    maxMessageBytes: 64 * 1024 * 1024,
    observer: () => {},
    traces: new TraceControl(undefined),
    log,
  });
  const readiness: (readonly [string, boolean])[] = [];
  repository.onReadiness((model, ready) => readiness.push([model, ready]));
  t.teardown(async () => {
    await repository.close();
    await pool.close();
  });
  await repository.scan();
  return { folder, repository, readiness };
}

/** Asks a model for 0 plus its constant. */
async function ask(repository: Repository, name: string, version = ""): Promise<number> {
  const request = create(ModelInferRequestSchema, {
    modelName: name,
    inputs: [{ name: "x", datatype: "FP32", shape: [1n] }],
    rawInputContents: [new Uint8Array(4)],
  });
  const response = await repository.resolve(name, version).infer(request, localCall());
  return Buffer.from(response.rawOutputContents![0]!).readFloatLE();
}

function reasonOf(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof TensorwireError) return error.reason;
  }
  return "none";
}

function states(repository: Repository): string[] {
  return repository.index().map(({ name, version, state }) => `${name}/${version} ${state.kind}`);
}

test("by default the newest version is loaded, by number and not by text", async (t) => {
  const { repository } = await open(t, {
    "m/2/model.onnx": addModel(2),
    "m/10/model.onnx": addModel(10),
    "m/09/model.onnx": addModel(9),
  });
  await repository.load("m");
  t.is(await ask(repository, "m"), 10);
  t.deepEqual(repository.availableVersions("m"), ["10"]);
  t.is(
    reasonOf(() => repository.resolve("m", "2")),
    "MODEL_VERSION_NOT_FOUND",
  );
});

test("a version policy selects versions; without a version a call goes to the newest of them", async (t) => {
  const { repository } = await open(t, {
    "all/1/model.onnx": addModel(1),
    "all/2/model.onnx": addModel(2),
    "all/config.pbtxt": "version_policy: { all { } }",
    "some/1/model.onnx": addModel(1),
    "some/2/model.onnx": addModel(2),
    "some/3/model.onnx": addModel(3),
    "some/config.pbtxt": "version_policy: { specific { versions: [1, 2] } }",
  });
  await repository.load("all");
  await repository.load("some");
  t.deepEqual(repository.availableVersions("all"), ["1", "2"]);
  t.deepEqual(repository.availableVersions("some"), ["1", "2"]);
  t.is(await ask(repository, "all", "1"), 1);
  t.is(await ask(repository, "some"), 2);
});

test("names of requests that are no model, no version, or a path are refused with their reason", async (t) => {
  const { repository } = await open(t, {
    "m/1/model.onnx": addModel(1),
    "other/1/model.onnx": addModel(1),
  });
  await repository.load("m");
  t.is(
    reasonOf(() => repository.resolve("nope", "")),
    "MODEL_NOT_FOUND",
  );
  t.is(
    reasonOf(() => repository.resolve("other", "")),
    "MODEL_NOT_LOADED",
  );
  t.is(
    reasonOf(() => repository.resolve("m", "x")),
    "MODEL_VERSION_INVALID",
  );
  t.is(
    reasonOf(() => repository.resolve("m", "7")),
    "MODEL_VERSION_NOT_FOUND",
  );
  for (const name of ["../m", "a/b", "a\\b", ".hidden", "", "a\0b"]) {
    const error = await t.throwsAsync(repository.load(name), { instanceOf: TensorwireError });
    t.is(error?.reason, "MODEL_NAME_INVALID");
  }
});

test("a model that fails to load leaves the others serving and says why in the index and to callers", async (t) => {
  const { repository } = await open(t, {
    "good/1/model.onnx": addModel(1),
    "bad/1/model.onnx": "no model",
    "empty/1/notes.txt": "",
    "odd/config.pbtxt": "max_batch_size: many",
  });
  for (const name of ["good", "bad", "empty", "odd"]) await repository.load(name).catch(() => {});
  t.is(await ask(repository, "good"), 1);
  t.deepEqual(states(repository), [
    "bad/1 failed",
    "empty/1 failed",
    "good/1 ready",
    "odd/ failed",
  ]);
  t.is(
    reasonOf(() => repository.resolve("bad", "")),
    "MODEL_LOAD_FAILED",
  );
  const odd = t.throws(() => repository.resolve("odd", ""), { instanceOf: TensorwireError });
  t.regex(odd.message, /config\.pbtxt cannot be parsed/);
});

test("a newer version is ready before the older one leaves, and calls never fail in between", async (t) => {
  const { folder, repository, readiness } = await open(t, { "m/1/model.onnx": addModel(1) });
  await repository.load("m");
  await writeFiles(folder, { "m/2/model.onnx": addModel(2) });
  const answers: number[] = [];
  let loading = true;
  const loaded = repository.load("m").finally(() => {
    loading = false;
  });
  while (loading) answers.push(await ask(repository, "m"));
  await loaded;
  t.is(await ask(repository, "m"), 2);
  t.true(answers.length > 0);
  t.deepEqual(
    answers.filter((answer) => answer !== 1 && answer !== 2),
    [],
  );
  t.deepEqual(repository.availableVersions("m"), ["2"]);
  t.deepEqual(readiness, [["m", true]]);
});

test("a reload that fails leaves the old model serving and shows the failure", async (t) => {
  const { folder, repository } = await open(t, { "m/1/model.onnx": addModel(1) });
  await repository.load("m");
  await writeFiles(folder, { "m/1/model.onnx": "no model" });
  await t.throwsAsync(repository.load("m"), { instanceOf: TensorwireError });
  t.is(await ask(repository, "m"), 1);
  t.deepEqual(states(repository), ["m/1 failed"]);
});

test("unload answers the calls under way first", async (t) => {
  const { repository, readiness } = await open(t, { "m/1/model.onnx": addModel(3) });
  await repository.load("m");
  const calls = [ask(repository, "m"), ask(repository, "m"), ask(repository, "m")];
  const unloaded = repository.unload("m");
  t.deepEqual(await Promise.all(calls), [3, 3, 3]);
  await unloaded;
  t.is(
    reasonOf(() => repository.resolve("m", "")),
    "MODEL_NOT_LOADED",
  );
  t.deepEqual(readiness, [
    ["m", true],
    ["m", false],
  ]);
  await repository.load("m");
  t.is(await ask(repository, "m"), 3);
});

test("poll takes a change once two looks in a row see the same files", async (t) => {
  const { folder, repository } = await open(t, { "m/1/model.onnx": addModel(1) });
  await repository.load("m");
  await writeFiles(folder, { "m/1/model.onnx": addModel(100), "new/1/model.onnx": addModel(7) });
  await repository.poll();
  t.is(await ask(repository, "m"), 1);
  await repository.poll();
  t.is(await ask(repository, "m"), 100);
  t.is(await ask(repository, "new"), 7);
  await rm(join(folder, "m"), { recursive: true });
  await repository.poll();
  t.is(
    reasonOf(() => repository.resolve("m", "")),
    "MODEL_NOT_FOUND",
  );
});

test("latest 2 follows the folder: a new version pushes the oldest out once it is ready, a broken one pushes nobody", async (t) => {
  const { folder, repository } = await open(t, {
    "m/1/model.onnx": addModel(1),
    "m/2/model.onnx": addModel(2),
    "m/config.pbtxt": "version_policy { latest { num_versions: 2 } }",
  });
  await repository.load("m");
  t.deepEqual(repository.availableVersions("m"), ["1", "2"]);
  await writeFiles(folder, { "m/3/model.onnx": "no model" });
  await t.throwsAsync(repository.load("m"), { instanceOf: TensorwireError });
  t.is(await ask(repository, "m"), 2);
  t.deepEqual(states(repository), ["m/1 ready", "m/2 ready", "m/3 failed"]);
  await writeFiles(folder, { "m/3/model.onnx": addModel(3) });
  await repository.load("m");
  t.deepEqual(repository.availableVersions("m"), ["2", "3"]);
  t.is(await ask(repository, "m"), 3);
  t.is(await ask(repository, "m", "2"), 2);
});

test("a configuration that came with the load selects versions, and counts until the next load without one", async (t) => {
  const { repository } = await open(t, {
    "m/1/model.onnx": addModel(1),
    "m/2/model.onnx": addModel(2),
    "m/3/model.onnx": addModel(3),
  });
  await repository.load("m");
  t.deepEqual(repository.availableVersions("m"), ["3"]);
  const config = create(ModelConfigSchema, {
    versionPolicy: { policyChoice: { case: "specific", value: { versions: [1n, 2n] } } },
  });
  await repository.load("m", { config });
  t.deepEqual(repository.availableVersions("m"), ["1", "2"]);
  t.is(await ask(repository, "m"), 2);
  await repository.load("m");
  t.deepEqual(repository.availableVersions("m"), ["3"]);
  t.is(await ask(repository, "m"), 3);
});
