import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { OnnxModel } from "../../../../server/predictor/engines/onnx/onnx-model.ts";
import { WorkerPool } from "../../../../server/predictor/engines/onnx/worker-pool.ts";
import type { Tensor } from "../../../../server/tensor/tensor.ts";
import { addModel } from "../../../support/onnx-model.ts";
import { recordingLog } from "../../../support/silent-log.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const slow = fileURLToPath(new URL("../../../fixtures/models/slow/1/model.onnx", import.meta.url));

const rounds = (value: bigint): Tensor => ({
  name: "rounds",
  datatype: "INT64",
  shape: [],
  bytes: new Uint8Array(BigInt64Array.of(value).buffer),
});

test("a model with a loop stays in its worker, however fast its warm-up was", async (t) => {
  const log = recordingLog();
  const pool = new WorkerPool(1, log);
  t.teardown(() => pool.close());
  const model = await OnnxModel.load(
    pool,
    { model: "slow", path: slow, intraOpThreads: 1 },
    1,
    "auto",
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
  const model = await OnnxModel.load(
    pool,
    { model: "m", path: join(folder, "model.onnx"), intraOpThreads: 1 },
    1,
    "auto",
    log,
    1,
  );
  t.teardown(() => model.release());
  const x: Tensor = { name: "x", datatype: "FP32", shape: [1], bytes: new Uint8Array(4) };
  await model.warmUp([[x]]);
  t.regex(model.placement, /^inline/);
  const inline = [await model.run([x], ["y"])];
  t.regex(model.placement, /^inline/);
  // Their mean has to be too long, not one of them.
  for (let call = 0; call < 3; call++) inline.push(await model.run([x], ["y"]));
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
