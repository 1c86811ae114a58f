import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { ModelInferRequestSchema } from "../../../gen/inference/grpc_service_pb.ts";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { TraceControl } from "../../../server/observability/trace-control.ts";
import { Repository } from "../../../server/predictor/repository/repository.ts";
import { localCall } from "../../support/call-context.ts";
import { recordingLog } from "../../support/silent-log.ts";
import { type StubEngine, stubEngine, stubFile } from "../../support/stub-engine.ts";
import { temporaryFolder, writeFiles } from "../../support/temporary-folder.ts";
import { until } from "../../support/until.ts";
import { type VirtualClock, virtualClock } from "../../support/virtual-clock.ts";

// Files of load requests go where no other test counts them.
const temporary = mkdtempSync(join(tmpdir(), "tensorwire-test-"));
process.env.TMPDIR = temporary;
test.after.always(() => rm(temporary, { recursive: true, force: true }));

interface Fixture {
  readonly folder: string;
  readonly repository: Repository;
  readonly engine: StubEngine;
  readonly clock: VirtualClock;
  readonly readiness: (readonly [string, boolean])[];
}

interface Limits {
  readonly limitBytes?: number;
  readonly pinned?: readonly string[];
  readonly maxWaitingCalls?: number;
}

/** No model of these is batched: each call is a run. */
const config = "max_batch_size: 0";

function modelFiles(
  models: Readonly<Record<string, { readonly add: number; readonly bytes: number }>>,
): Record<string, string> {
  return Object.fromEntries(
    Object.entries(models).flatMap(([name, file]) => [
      [`${name}/1/model.onnx`, stubFile(file)],
      [`${name}/config.pbtxt`, config],
    ]),
  );
}

async function open(
  t: ExecutionContext,
  files: Readonly<Record<string, string>>,
  limits: Limits = {},
): Promise<Fixture> {
  const folder = await temporaryFolder(t, files);
  const engine = stubEngine();
  const clock = virtualClock();
  const repository = new Repository({
    paths: [folder],
    modelName: undefined,
    openOnnx: engine.open,
    backend: () => {
      throw new Error("no model here calls the server");
    },
    memory: {
      limitBytes: 0,
      pinned: [],
      loadTimeoutMs: 1_000,
      maxWaitingCalls: 1_000,
      now: clock.now,
      after: clock.after,
      ...limits,
    },
    traces: new TraceControl(undefined),
    maxQueueSize: 1_000,
    maxMessageBytes: 1024 * 1024,
    observer: () => {},
    log: recordingLog(),
  });
  const readiness: (readonly [string, boolean])[] = [];
  repository.onReadiness((model, ready) => readiness.push([model, ready]));
  t.teardown(() => repository.close());
  await repository.scan();
  return { folder, repository, engine, clock, readiness };
}

/** Asks a model for 0 plus its constant. */
async function ask(
  repository: Repository,
  name: string,
  version = "",
  signal: AbortSignal = new AbortController().signal,
): Promise<number> {
  const request = create(ModelInferRequestSchema, {
    modelName: name,
    inputs: [{ name: "x", datatype: "FP32", shape: [1n] }],
    rawInputContents: [new Uint8Array(4)],
  });
  const call = localCall(signal);
  const model = repository.find(name, version);
  const response = await (model
    ? model.infer(request, call)
    : repository.recall(name, version, call, (loaded) => loaded.infer(request, call)));
  return Buffer.from(response.rawOutputContents![0]!).readFloatLE();
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "none";
  } catch (error) {
    return error instanceof TensorwireError ? error.reason : String(error);
  }
}

function states(repository: Repository): string[] {
  return repository.index().map(({ name, version, state }) => `${name}/${version} ${state.kind}`);
}

const small = { a: { add: 1, bytes: 60 }, b: { add: 2, bytes: 60 }, c: { add: 3, bytes: 60 } };

test("calls that come at once load a model once, and every one is answered", async (t) => {
  const { repository, engine, readiness } = await open(t, modelFiles(small));
  await repository.standByAll(["a", "b"]);
  t.deepEqual(states(repository), ["a/1 standby", "b/1 standby", "c/ unloaded"]);
  t.deepEqual(engine.opened, []);
  t.true(repository.answers("a", ""));
  const answers = await Promise.all(Array.from({ length: 300 }, () => ask(repository, "a")));
  t.deepEqual(new Set(answers), new Set([1]));
  t.deepEqual(engine.opened, ["a"]);
  t.deepEqual(states(repository), ["a/1 ready", "b/1 standby", "c/ unloaded"]);
  t.deepEqual(readiness.map(([model]) => model).toSorted(), ["a", "b"]);
});

test("more calls than may wait are refused, the others answered", async (t) => {
  const { repository } = await open(t, modelFiles(small), { maxWaitingCalls: 10 });
  await repository.standByAll(["a"]);
  const calls = Array.from({ length: 15 }, () => reasonOf(ask(repository, "a")));
  const outcomes = await Promise.all(calls);
  t.is(outcomes.filter((outcome) => outcome === "none").length, 10);
  t.is(outcomes.filter((outcome) => outcome === "QUEUE_FULL").length, 5);
});

test("a version that is not to be loaded is not found, loaded or not", async (t) => {
  const { repository } = await open(t, modelFiles(small));
  await repository.standByAll(["a"]);
  t.is(await reasonOf(ask(repository, "a", "2")), "MODEL_VERSION_NOT_FOUND");
  t.is(await ask(repository, "a", "1"), 1);
  t.is(await reasonOf(ask(repository, "a", "2")), "MODEL_VERSION_NOT_FOUND");
  t.is(await reasonOf(ask(repository, "c")), "MODEL_NOT_LOADED");
});

test("models that do not fit together take turns: every call is answered, within the limit", async (t) => {
  const { repository, engine } = await open(t, modelFiles(small), { limitBytes: 100 });
  await repository.standByAll(["a", "b", "c"]);
  const names = Array.from({ length: 120 }, (_, index) => "abc"[index % 3]!);
  const answers = await Promise.all(names.map((name) => ask(repository, name)));
  t.deepEqual(
    answers,
    names.map((name) => "abc".indexOf(name) + 1),
  );
  t.true(engine.memory.most <= 100, `${engine.memory.most} bytes at once`);
  // Calls of a model that wait at the same time share one load.
  t.is(engine.opened.length, 3);
});

test("two models that do not fit together both go on while calls of both never cease", async (t) => {
  const { repository, engine } = await open(t, modelFiles(small), { limitBytes: 100 });
  await repository.standByAll(["a", "b"]);
  const caller = async (name: string, expected: number): Promise<void> => {
    for (let call = 0; call < 30; call++) t.is(await ask(repository, name), expected);
  };
  await Promise.all([
    ...Array.from({ length: 5 }, () => caller("a", 1)),
    ...Array.from({ length: 5 }, () => caller("b", 2)),
  ]);
  t.true(engine.memory.most <= 100);
});

test("the least recently used model leaves, and comes back with its next call and its counts", async (t) => {
  const { repository, engine } = await open(t, modelFiles(small), { limitBytes: 130 });
  await repository.loadAll(["a", "b"]);
  const used = Date.now();
  const statistics = repository.resolve("a", "").statistics;
  statistics.lastInferenceMs = used + 2;
  repository.resolve("b", "").statistics.lastInferenceMs = used + 1;
  t.is(await ask(repository, "a"), 1);
  statistics.lastInferenceMs = used + 2;
  await repository.load("c");
  t.deepEqual(states(repository), ["a/1 ready", "b/1 standby", "c/1 ready"]);
  t.is(repository.executorOf({ name: "b", version: "1" }), undefined);
  t.is(await ask(repository, "b"), 2);
  t.deepEqual(engine.opened, ["a", "b", "c", "b"]);
  // c was never used, but loaded later than a was used; the clock of the machine decides between them.
  t.is(states(repository).filter((row) => row.endsWith("ready")).length, 2);
  await repository.unload("c");
  t.is(await ask(repository, "a"), 1);
  t.is(repository.resolve("a", "").statistics.success.count, 2);
});

test("a model leaves when the calls that it has are answered, and calls that come meanwhile wait", async (t) => {
  const { repository, engine } = await open(t, modelFiles(small), { limitBytes: 100 });
  await repository.standByAll(["a", "b"]);
  await repository.load("a");
  const release = engine.hold("a");
  const running = ask(repository, "a");
  await engine.begun("a");
  const other = ask(repository, "b");
  await until(() => states(repository).includes("a/1 evicting"));
  const later = ask(repository, "a");
  t.true(repository.answers("a", ""));
  release();
  t.is(await running, 1);
  t.is(await other, 2);
  t.is(await later, 1);
  t.true(engine.memory.most <= 100);
  t.deepEqual(engine.opened, ["a", "b", "a"]);
});

test("a load that nobody waits for any more is not done, and the model that was to leave serves on", async (t) => {
  const { repository, engine } = await open(t, modelFiles(small), { limitBytes: 100 });
  await repository.standByAll(["a", "b"]);
  await repository.load("a");
  const release = engine.hold("a");
  const running = ask(repository, "a");
  await engine.begun("a");
  const caller = new AbortController();
  const other = reasonOf(ask(repository, "b", "", caller.signal));
  await until(() => states(repository).includes("a/1 evicting"));
  const meanwhile = ask(repository, "a");
  caller.abort();
  t.is(await other, "CALL_CANCELLED");
  await until(() => states(repository).includes("a/1 ready"));
  t.deepEqual(states(repository), ["a/1 ready", "b/1 standby", "c/ unloaded"]);
  release();
  t.is(await running, 1);
  t.is(await meanwhile, 1);
  t.deepEqual(engine.opened, ["a"]);
  t.is(await ask(repository, "b"), 2);
});

test("a call waits for its model for the timeout and no longer", async (t) => {
  const { repository, engine, clock } = await open(t, modelFiles(small), { limitBytes: 100 });
  await repository.standByAll(["a", "b"]);
  await repository.load("a");
  const release = engine.hold("a");
  const running = ask(repository, "a");
  await engine.begun("a");
  const other = reasonOf(ask(repository, "b"));
  await until(() => states(repository).includes("a/1 evicting"));
  clock.advance(1_000);
  t.is(await other, "MODEL_LOAD_TIMEOUT");
  release();
  t.is(await running, 1);
  t.is(await ask(repository, "b"), 2);
});

test("a model larger than the limit is refused by name, whoever asks, and takes nobody's place", async (t) => {
  const files = modelFiles({ ...small, huge: { add: 9, bytes: 101 } });
  const { repository, engine } = await open(t, files, { limitBytes: 100 });
  await repository.loadAll(["a"]);
  await repository.standByAll(["huge"]);
  const error = await t.throwsAsync(ask(repository, "huge"), { instanceOf: TensorwireError });
  t.is(error?.reason, "MODEL_MEMORY_EXCEEDED");
  t.regex(error?.message ?? "", /"huge" needs 101 bytes .* may take 100/);
  t.is(await reasonOf(repository.load("huge")), "MODEL_MEMORY_EXCEEDED");
  t.is(engine.memory.now, 60);
  t.deepEqual(states(repository).slice(0, 1), ["a/1 ready"]);
  const row = repository.index().find(({ name }) => name === "huge");
  t.is(row?.state.kind === "failed" ? row.state.error.reason : "", "MODEL_MEMORY_EXCEEDED");
  t.is(await ask(repository, "a"), 1);
});

test("at start what does not fit goes on standby, and pinned models stay for good", async (t) => {
  const { repository } = await open(t, modelFiles(small), { limitBytes: 130, pinned: ["c"] });
  await repository.loadAll(["c"]);
  await repository.loadAll(["a", "b"], "free");
  t.deepEqual(states(repository), ["a/1 ready", "b/1 standby", "c/1 ready"]);
  for (let round = 0; round < 3; round++) {
    t.is(await ask(repository, "b"), 2);
    t.is(await ask(repository, "a"), 1);
  }
  t.is([...repository.entries()].find(({ name }) => name === "c")?.evictions, 0);
});

test("a model that fails to load says so for a while, and is tried again after it", async (t) => {
  const { repository, folder, clock, engine } = await open(t, modelFiles(small));
  await writeFiles(folder, { "a/1/model.onnx": "broken" });
  await repository.standByAll(["a"]);
  const both = await Promise.all([ask(repository, "a"), ask(repository, "a")].map(reasonOf));
  t.deepEqual(both, ["INTERNAL", "INTERNAL"]);
  t.false(repository.answers("a", ""));
  await writeFiles(folder, { "a/1/model.onnx": stubFile({ add: 7, bytes: 10 }) });
  t.is(await reasonOf(ask(repository, "a")), "MODEL_LOAD_FAILED");
  t.deepEqual(engine.opened, []);
  clock.advance(1_000);
  t.is(await ask(repository, "a"), 7);
  t.true(repository.answers("a", ""));
});

test("unloading a model that is on standby ends it: calls are refused", async (t) => {
  const { repository, readiness } = await open(t, modelFiles(small));
  await repository.standByAll(["a"]);
  await repository.unload("a");
  t.is(await reasonOf(ask(repository, "a")), "MODEL_NOT_LOADED");
  t.deepEqual(readiness, [
    ["a", true],
    ["a", false],
  ]);
  await repository.load("a");
  t.is(await ask(repository, "a"), 1);
});

test("a configuration that came with the load, and files that did, come back after the model made room", async (t) => {
  const { repository } = await open(t, modelFiles(small), { limitBytes: 100 });
  const override = create(ModelConfigSchema, { maxBatchSize: 0, metricTags: { kept: "yes" } });
  await repository.load("a", { config: override });
  await repository.load("up", {
    config: override,
    files: new Map([["3/model.onnx", Buffer.from(stubFile({ add: 30, bytes: 60 }))]]),
  });
  t.deepEqual(states(repository).slice(0, 1), ["a/1 standby"]);
  t.is((await repository.describe("a", "", localCall())).config.metricTags.kept, "yes");
  t.deepEqual(states(repository).slice(0, 1), ["a/1 standby"]);
  t.is(await ask(repository, "a"), 1);
  t.is(repository.resolve("a", "").config.metricTags.kept, "yes");
  t.is(await ask(repository, "up", "3"), 30);
});

test("a model whose files went while it was on standby fails by name, and is served again when they are back", async (t) => {
  const { repository, folder, clock } = await open(t, modelFiles(small), { limitBytes: 100 });
  await repository.loadAll(["a"]);
  await repository.load("b");
  await rm(join(folder, "a/1/model.onnx"));
  t.is(await reasonOf(ask(repository, "a")), "MODEL_LOAD_FAILED");
  t.is(await ask(repository, "b"), 2);
  await writeFiles(folder, { "a/1/model.onnx": stubFile({ add: 11, bytes: 60 }) });
  clock.advance(60_000);
  t.is(await ask(repository, "a"), 11);
});

test("a model whose sequences are under way stays until they have ended", async (t) => {
  const { repository, clock, engine } = await open(
    t,
    {
      ...modelFiles(small),
      "a/config.pbtxt":
        "max_batch_size: 2 sequence_batching { direct { } max_sequence_idle_microseconds: 600000000 }",
    },
    { limitBytes: 100 },
  );
  await repository.standByAll(["a", "b"]);
  const step = async (flag: "sequence_start" | "sequence_end"): Promise<void> => {
    const request = create(ModelInferRequestSchema, {
      modelName: "a",
      inputs: [{ name: "x", datatype: "FP32", shape: [1n] }],
      rawInputContents: [new Uint8Array(4)],
      parameters: {
        sequence_id: { parameterChoice: { case: "int64Param", value: 7n } },
        [flag]: { parameterChoice: { case: "boolParam", value: true } },
      },
    });
    const model = repository.find("a", "");
    const call = localCall();
    await (model
      ? model.infer(request, call)
      : repository.recall("a", "", call, (loaded) => loaded.infer(request, call)));
  };
  await step("sequence_start");
  const other = ask(repository, "b");
  await until(() => clock.due().includes(200));
  t.true(states(repository).includes("a/1 ready"));
  await step("sequence_end");
  clock.advance(200);
  t.is(await other, 2);
  t.deepEqual(engine.opened, ["a", "b"]);
});

const ensemble = (...steps: readonly string[]): string => {
  const tensors = ["in", ...steps.slice(1).map((_, index) => `t${index}`), "out"];
  const graph = steps.map(
    (name, index) =>
      `step { model_name: "${name}" model_version: -1 input_map { key: "x" value: "${tensors[index]}" } output_map { key: "y" value: "${tensors[index + 1]}" } }`,
  );
  return `platform: "ensemble"
input { name: "in" data_type: TYPE_FP32 dims: [ -1 ] }
output { name: "out" data_type: TYPE_FP32 dims: [ -1 ] }
ensemble_scheduling { ${graph.join(" ")} }`;
};

async function askGraph(repository: Repository, name: string): Promise<number> {
  const request = create(ModelInferRequestSchema, {
    modelName: name,
    inputs: [{ name: "in", datatype: "FP32", shape: [1n] }],
    rawInputContents: [new Uint8Array(4)],
  });
  const call = localCall();
  const model = repository.find(name, "");
  const response = await (model
    ? model.infer(request, call)
    : repository.recall(name, "", call, (loaded) => loaded.infer(request, call)));
  return Buffer.from(response.rawOutputContents![0]!).readFloatLE();
}

test("an ensemble on standby brings its models in, keeps them while it is there, and leaves with them", async (t) => {
  const files = { ...modelFiles(small), "graph/config.pbtxt": ensemble("a", "b") };
  const { repository, engine } = await open(t, files, { limitBytes: 130 });
  await repository.standByAll(["a", "b", "c", "graph"]);
  t.is(await askGraph(repository, "graph"), 3);
  t.deepEqual(engine.opened.toSorted(), ["a", "b"]);
  // c needs the place of a model of the ensemble: that goes first.
  t.is(await ask(repository, "c"), 3);
  t.true(states(repository).includes("graph/1 standby"));
  t.is(await askGraph(repository, "graph"), 3);
  const both = await Promise.all([
    ...Array.from({ length: 40 }, () => askGraph(repository, "graph")),
    ...Array.from({ length: 40 }, () => ask(repository, "c")),
  ]);
  t.deepEqual(new Set(both), new Set([3]));
  t.true(engine.memory.most <= 130);
});

test("two ensembles that do not fit together take turns too", async (t) => {
  const files = {
    ...modelFiles({ ...small, d: { add: 4, bytes: 60 } }),
    "ab/config.pbtxt": ensemble("a", "b"),
    "cd/config.pbtxt": ensemble("c", "d"),
  };
  const { repository, engine } = await open(t, files, { limitBytes: 130 });
  await repository.standByAll(["a", "b", "c", "d", "ab", "cd"]);
  for (let round = 0; round < 3; round++) {
    const answers = await Promise.all([askGraph(repository, "ab"), askGraph(repository, "cd")]);
    t.deepEqual(answers, [3, 7]);
  }
  t.true(engine.memory.most <= 130);
});

test("poll leaves a version that is being copied alone, also for a model that the next call loads", async (t) => {
  const { repository, folder, clock } = await open(t, modelFiles(small));
  await repository.standByAll(["a"]);
  await writeFiles(folder, { "a/2/model.onnx": "half of a" });
  await repository.poll();
  t.is(await ask(repository, "a"), 1);
  await writeFiles(folder, { "a/2/model.onnx": stubFile({ add: 22, bytes: 10 }) });
  await repository.poll();
  t.is(await ask(repository, "a"), 1);
  await repository.poll();
  t.is(await ask(repository, "a"), 22);
  clock.advance(1);
});

test("poll puts changed models that are not in memory on standby anew; if the new version is broken the old one answers", async (t) => {
  const { a, b } = small;
  const { repository, folder, engine } = await open(t, modelFiles({ a, b }), { limitBytes: 100 });
  await repository.loadAll(["a"]);
  await repository.load("b");
  t.true(states(repository).includes("a/1 standby"));
  await writeFiles(folder, { "a/2/model.onnx": "broken for good" });
  await repository.poll();
  await repository.poll();
  t.true(states(repository).includes("a/2 standby"));
  t.deepEqual(engine.opened, ["a", "b"]);
  t.is(await ask(repository, "a"), 1);
  const rows = repository.index().filter(({ name }) => name === "a");
  t.deepEqual(
    rows.map(({ version, state }) => `${version} ${state.kind}`),
    ["1 ready", "2 failed"],
  );
});

test("new models of a folder that is followed are loaded, or put on standby", async (t) => {
  const { repository, folder, engine } = await open(t, modelFiles(small));
  await repository.loadAll(["a", "b", "c"]);
  await writeFiles(folder, modelFiles({ d: { add: 4, bytes: 1 } }));
  await repository.poll("stand by");
  await repository.poll("stand by");
  t.true(states(repository).includes("d/1 standby"));
  t.deepEqual(engine.opened.toSorted(), ["a", "b", "c"]);
  t.is(await ask(repository, "d"), 4);
  await writeFiles(folder, modelFiles({ e: { add: 5, bytes: 1 } }));
  await repository.poll("load");
  await repository.poll("load");
  t.true(states(repository).includes("e/1 ready"));
});

test("whatever is asked for at once, no call is lost, none gets another's answer, and the limit holds", async (t) => {
  const models = {
    a: { add: 1, bytes: 40 },
    b: { add: 2, bytes: 60 },
    c: { add: 3, bytes: 70 },
    d: { add: 4, bytes: 30 },
  };
  const names = ["a", "b", "c", "d"] as const;
  const action = fc.record({
    model: fc.constantFrom(...names),
    kind: fc.constantFrom("call", "call", "call", "call", "cancel", "load", "unload"),
  });
  /** What a call may end with, besides the right answer. */
  const allowed = new Set(["CALL_CANCELLED", "MODEL_NOT_LOADED", "MODEL_NOT_READY"]);
  const { repository, engine } = await open(t, modelFiles(models), { limitBytes: 110 });
  await fc.assert(
    fc.asyncProperty(fc.array(action, { minLength: 1, maxLength: 40 }), async (actions) => {
      await repository.standByAll(names);
      engine.memory.most = engine.memory.now;
      const outcomes = actions.map(async ({ model, kind }) => {
        if (kind === "load") {
          // A new one is ready before the old one leaves: for two of some there is no room.
          const reason = await reasonOf(repository.load(model));
          if (reason === "none" || reason === "MODEL_MEMORY_EXCEEDED") return;
          throw new Error(`a load ended with ${reason}`);
        }
        if (kind === "unload") return repository.unload(model);
        const caller = new AbortController();
        const answer = ask(repository, model, "", caller.signal);
        if (kind === "cancel") caller.abort();
        try {
          const value = await answer;
          if (value !== models[model].add) throw new Error(`${model} answered ${value}`);
        } catch (error) {
          if (error instanceof TensorwireError && allowed.has(error.reason)) return;
          throw error;
        }
      });
      await Promise.all(outcomes);
      if (engine.memory.most > 110) throw new Error(`${engine.memory.most} bytes at once`);
      for (const { waiting } of repository.entries()) {
        if (waiting.size > 0) throw new Error("a call still waits");
      }
    }),
    { numRuns: 60 },
  );
  t.pass();
});

test("files beside a model that are larger than the limit do not keep it out", async (t) => {
  const { repository } = await open(
    t,
    { ...modelFiles(small), "a/1/data.csv": "x".repeat(1_000) },
    { limitBytes: 100 },
  );
  await repository.standByAll(["a", "b"]);
  await repository.load("b");
  t.is(await ask(repository, "a"), 1);
  t.true(states(repository).includes("b/1 standby"));
});

test("a model whose folder went while it was on standby is gone, and whoever follows its readiness hears so", async (t) => {
  const { repository, folder, readiness } = await open(t, modelFiles(small));
  await repository.standByAll(["a"]);
  await rm(join(folder, "a"), { recursive: true });
  await repository.scan();
  t.is(await reasonOf(ask(repository, "a")), "MODEL_NOT_FOUND");
  t.deepEqual(readiness, [
    ["a", true],
    ["a", false],
  ]);
});

test("a load waits for the memory of a model that is being unloaded, and no longer than the timeout", async (t) => {
  const { repository, engine, clock } = await open(t, modelFiles(small), { limitBytes: 100 });
  await repository.standByAll(["b", "c"]);
  await repository.load("a");
  const release = engine.hold("a");
  const running = ask(repository, "a");
  await engine.begun("a");
  const unloaded = repository.unload("a");
  await until(() => states(repository).includes("a/1 unloading"));
  const late = reasonOf(repository.load("c"));
  await until(() => clock.due().includes(1_000));
  clock.advance(1_000);
  t.is(await late, "MODEL_LOAD_TIMEOUT");
  const other = ask(repository, "b");
  release();
  t.is(await running, 1);
  await unloaded;
  t.is(await other, 2);
  t.deepEqual(engine.opened, ["a", "b"]);
});
