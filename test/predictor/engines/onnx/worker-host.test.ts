import { join } from "node:path";
import test from "ava";
import { TensorwireError } from "../../../../server/errors/tensorwire-error.ts";
import { SharedBuffers } from "../../../../server/predictor/engines/onnx/shared-buffers.ts";
import { WorkerHost } from "../../../../server/predictor/engines/onnx/worker-host.ts";
import type { Tensor } from "../../../../server/tensor/tensor.ts";
import { addModel, identityModel } from "../../../support/onnx-model.ts";
import { recordingLog } from "../../../support/silent-log.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const x = (...values: number[]): Tensor => ({
  name: "x",
  datatype: "FP32",
  shape: [values.length],
  bytes: new Uint8Array(Float32Array.from(values).buffer),
});

function floats(tensor: Tensor): number[] {
  return [...new Float32Array(new Uint8Array(tensor.bytes!).buffer)];
}

test("sessions in one worker answer their own calls, and inputs stay the caller's", async (t) => {
  const folder = await temporaryFolder(t, { "one.onnx": addModel(1), "two.onnx": addModel(2) });
  const host = new WorkerHost(new SharedBuffers(1024 * 1024), recordingLog());
  t.teardown(() => host.close());
  const [one, two] = await Promise.all(
    ["one", "two"].map((model) =>
      host.load({ model, path: join(folder, `${model}.onnx`), intraOpThreads: 1 }),
    ),
  );
  const input = x(...new Array<number>(10_000).fill(3));
  const answers = await Promise.all([
    one!.run([input], ["y"]),
    two!.run([input], ["y"]),
    one!.run([input], ["y"]),
  ]);
  t.deepEqual(
    answers.map(({ outputs }) => floats(outputs[0]!)[9999]),
    [4, 5, 4],
  );
  t.is(input.bytes!.byteLength, 40_000);
});

test("large inputs cross in shared memory that is used again, and without room by another way", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": addModel(1) });
  const buffers = new SharedBuffers(128 * 1024);
  const host = new WorkerHost(buffers, recordingLog());
  t.teardown(() => host.close());
  const session = await host.load({
    model: "m",
    path: join(folder, "model.onnx"),
    intraOpThreads: 1,
  });
  const inputs = [1, 2, 3].map((value) => x(...new Array<number>(20_000).fill(value)));
  for (let round = 0; round < 2; round++) {
    const answers = await Promise.all(inputs.map((input) => session.run([input], ["y"])));
    t.deepEqual(
      answers.map(({ outputs }) => new Set(floats(outputs[0]!))),
      [new Set([2]), new Set([3]), new Set([4])],
    );
    t.is(buffers.bytes, 128 * 1024);
  }
});

test("a thread that ends fails its calls with WORKER_LOST, comes back, and answers again", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": identityModel(1, ["n"]) });
  const log = recordingLog();
  const host = new WorkerHost(new SharedBuffers(1024 * 1024), log);
  t.teardown(() => host.close());
  const session = await host.load({
    model: "m",
    path: join(folder, "model.onnx"),
    intraOpThreads: 1,
  });
  const lost = session.run([x(1)], ["y"]);
  const restarted = host.onceRestarted();
  await host.terminateThread();
  const error = await t.throwsAsync(lost, { instanceOf: TensorwireError });
  t.is(error?.reason, "WORKER_LOST");
  const between = await t.throwsAsync(session.run([x(1)], ["y"]), { instanceOf: TensorwireError });
  t.is(between?.reason, "WORKER_LOST");
  await restarted;
  t.deepEqual(floats((await session.run([x(5)], ["y"])).outputs[0]!), [5]);
  t.true(log.entries.some(({ level, message }) => level === "error" && message.includes("ended")));
});

test("an error in the worker keeps its reason on the way back", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": "no model" });
  const host = new WorkerHost(new SharedBuffers(1024 * 1024), recordingLog());
  t.teardown(() => host.close());
  const error = await t.throwsAsync(
    host.load({ model: "m", path: join(folder, "model.onnx"), intraOpThreads: 1 }),
    { instanceOf: TensorwireError },
  );
  t.is(error?.reason, "MODEL_LOAD_FAILED");
  t.is(host.sessionCount, 0);
});
