import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { TensorProto_DataType } from "../../../../gen/onnx/onnx_pb.ts";
import { TensorwireError } from "../../../../server/errors/tensorwire-error.ts";
import { InlineJudge } from "../../../../server/predictor/engines/onnx/inline-judge.ts";
import { OnnxModel } from "../../../../server/predictor/engines/onnx/onnx-model.ts";
import { cpuSettings } from "../../../../server/predictor/engines/onnx/session-settings.ts";
import { WorkerPool } from "../../../../server/predictor/engines/onnx/worker-pool.ts";
import type { Tensor } from "../../../../server/tensor/tensor.ts";
import { addModel, onnxModel, tensorInfo } from "../../../support/onnx-model.ts";
import { recordingLog } from "../../../support/silent-log.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const slow = fileURLToPath(new URL("../../../fixtures/models/slow/1/model.onnx", import.meta.url));

const rounds = (value: bigint): Tensor => ({
  name: "rounds",
  datatype: "INT64",
  shape: [],
  bytes: new Uint8Array(BigInt64Array.of(value).buffer),
});

const zeros = (count: number): Tensor => ({
  name: "x",
  datatype: "FP32",
  shape: [count],
  bytes: new Uint8Array(4 * count),
});

const floatsOf = (tensor: Tensor | undefined): Float32Array =>
  new Float32Array(new Uint8Array(tensor?.bytes ?? []).buffer);

test("a small model has no worker until a call comes that is too large for the thread of the sockets", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": addModel(1) });
  const path = join(folder, "model.onnx");
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  t.teardown(() => pool.close());
  const session = { model: "m", path, intraOpThreads: 1 };
  const model = await OnnxModel.load(
    pool,
    { session, instances: [cpuSettings], execution: "auto" },
    log,
  );
  t.teardown(() => model.release());
  const outputs = await model.warmUp([[zeros(1)], [zeros(64)], [zeros(4096)]]);
  t.deepEqual(floatsOf(outputs[0]), Float32Array.of(1));
  t.regex(model.placement, /^inline up to \d+ bytes, else worker$/);
  t.is(pool.threads, 0);
  t.truthy(model.runNow([zeros(1)], ["y"]));
  t.true(model.memoryBytes > 0);
  // The worker gets the model as it was, whatever became of its file.
  await writeFile(path, addModel(5));
  const large = zeros(4_000_000);
  t.is(model.runNow([large], ["y"]), undefined);
  const answers = await Promise.all([1, 2].map(() => model.run([large], ["y"])));
  t.is(pool.threads, 1);
  for (const answer of answers) t.is(floatsOf(answer.outputs[0])[3_999_999], 1);
  t.truthy(model.runNow([zeros(1)], ["y"]));
});

test("calls of up to a millisecond run without a worker until they come again and again", async (t) => {
  // Each element costs far more than its way to a worker, so that the two limits are apart.
  const cosines = onnxModel({
    node: ["x", "a", "b", "c"].map((from, index) => ({
      opType: "Cos",
      input: [from],
      output: [["a", "b", "c", "y"][index]!],
    })),
    input: [tensorInfo("x", TensorProto_DataType.FLOAT, ["n"])],
    output: [tensorInfo("y", TensorProto_DataType.FLOAT, ["n"])],
  });
  const expected = Math.cos(Math.cos(Math.cos(Math.cos(0))));
  const folder = await temporaryFolder(t, { "model.onnx": cosines });
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  t.teardown(() => pool.close());
  const session = { model: "m", path: join(folder, "model.onnx"), intraOpThreads: 1 };
  const model = await OnnxModel.load(
    pool,
    { session, instances: [cpuSettings], execution: "auto" },
    log,
  );
  t.teardown(() => model.release());
  await model.warmUp([[zeros(1)], [zeros(64)], [zeros(4096)]]);
  const [, limit] = /^inline up to (\d+) bytes/.exec(model.placement) ?? [];
  const larger = zeros(Math.ceil(Number(limit) / 4) + 1);
  const answer = async (): Promise<number | undefined> =>
    floatsOf((await model.run([larger], ["y"])).outputs[0]).at(-1);
  let calls = 0;
  for (; pool.threads === 0 && calls < 1000; calls++) {
    t.true(Math.abs((await answer())! - expected) < 1e-6);
  }
  t.is(calls, 64);
  t.true(Math.abs((await answer())! - expected) < 1e-6);
});

test("a small model that fails its first run is left to a worker", async (t) => {
  const gather = onnxModel({
    node: [{ opType: "Gather", input: ["table", "x"], output: ["y"] }],
    initializer: [{ name: "table", dims: [0n], dataType: TensorProto_DataType.FLOAT }],
    input: [tensorInfo("x", TensorProto_DataType.INT64, ["n"])],
    output: [tensorInfo("y", TensorProto_DataType.FLOAT, ["n"])],
  });
  const folder = await temporaryFolder(t, { "model.onnx": gather });
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  t.teardown(() => pool.close());
  const session = { model: "m", path: join(folder, "model.onnx"), intraOpThreads: 1 };
  const model = await OnnxModel.load(
    pool,
    { session, instances: [cpuSettings], execution: "auto" },
    log,
  );
  t.teardown(() => model.release());
  const x: Tensor = { name: "x", datatype: "INT64", shape: [1], bytes: new Uint8Array(8) };
  const error = await t.throwsAsync(model.warmUp([[x]]), { instanceOf: TensorwireError });
  t.is(error?.reason, "MODEL_EXECUTION_FAILED");
  t.is(model.placement, "worker");
  t.is(model.runNow([x], ["y"]), undefined);
  await t.throwsAsync(model.run([x], ["y"]), { message: /indices element out of data bounds/ });
  t.is(pool.threads, 1);
});

test("inline, a model never has a worker", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": addModel(1) });
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  t.teardown(() => pool.close());
  const session = { model: "m", path: join(folder, "model.onnx"), intraOpThreads: 1 };
  const model = await OnnxModel.load(
    pool,
    { session, instances: [cpuSettings], execution: "inline" },
    log,
  );
  t.teardown(() => model.release());
  await model.warmUp([[zeros(1)]]);
  t.is(model.placement, "inline");
  t.is(floatsOf((await model.run([zeros(1_000_000)], ["y"])).outputs[0])[999_999], 1);
  t.is(pool.threads, 0);
});

test("a model with a loop stays in its worker, however fast its warm-up was", async (t) => {
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  t.teardown(() => pool.close());
  const session = { model: "slow", path: slow, intraOpThreads: 1 };
  const model = await OnnxModel.load(
    pool,
    { session, instances: [cpuSettings], execution: "auto" },
    log,
  );
  t.teardown(() => model.release());
  await model.warmUp([[rounds(0n)]]);
  t.is(model.placement, "worker");
  const { outputs } = await model.run([rounds(3n)], ["y"]);
  t.is(Buffer.from(outputs[0]!.bytes!).readFloatLE(), 1);
});

test("a model leaves the thread of the sockets when calls take longer than warm-up foretold", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": addModel(1) });
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  t.teardown(() => pool.close());
  // No call takes less than 1 ns, so every one is too slow.
  let cpuMicros = 0;
  const judge = new InlineJudge(1, () => ++cpuMicros);
  const session = { model: "m", path: join(folder, "model.onnx"), intraOpThreads: 1 };
  const options = {
    session,
    instances: [cpuSettings],
    execution: "auto",
    judge,
  } as const;
  const model = await OnnxModel.load(pool, options, log);
  t.teardown(() => model.release());
  const x = zeros(1);
  await model.warmUp([[x]]);
  t.regex(model.placement, /^inline/);
  const inline = [await model.run([x], ["y"])];
  t.regex(model.placement, /^inline/);
  // Their mean has to be too long, not one of them, by the clock and then on the processor.
  for (let call = 0; call < 100 && model.placement !== "worker"; call++) {
    inline.push(await model.run([x], ["y"]));
  }
  t.true(inline.length > 2);
  t.is(model.placement, "worker");
  const after = await model.run([x], ["y"]);
  for (const { outputs } of [...inline, after]) {
    t.is(Buffer.from(outputs[0]!.bytes!).readFloatLE(), 1);
  }
  t.is(
    log.entries.filter(({ message }) => message.includes("runs in its worker from now on")).length,
    1,
  );
});
