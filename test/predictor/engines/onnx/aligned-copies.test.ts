import test from "ava";
import { AlignedCopies } from "../../../../server/predictor/engines/onnx/aligned-copies.ts";
import { OnnxSession } from "../../../../server/predictor/engines/onnx/onnx-session.ts";
import { cpuSettings } from "../../../../server/predictor/engines/onnx/session-settings.ts";
import type { Tensor } from "../../../../server/tensor/tensor.ts";
import { addModel, identityModel } from "../../../support/onnx-model.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

/** A tensor of so many floats that starts `offset` bytes into its memory. */
function floats(count: number, offset: number, value: (index: number) => number): Tensor {
  const values = Float32Array.from({ length: count }, (_, index) => value(index));
  const memory = new Uint8Array(offset + values.byteLength);
  memory.set(new Uint8Array(values.buffer), offset);
  return { name: "x", datatype: "FP32", shape: [count], bytes: memory.subarray(offset) };
}

test("only large contents off a boundary are copied, into memory that is used again", (t) => {
  const copies = new AlignedCopies();
  for (const stays of [floats(20_000, 4, Math.sqrt), floats(10, 1, Math.sqrt)]) {
    t.is(copies.align(stays), stays);
  }
  const huge = floats(2 ** 20 + 1, 1, Math.sqrt);
  t.is(copies.align(huge), huge);
  const first = floats(20_000, 1, Math.sqrt);
  const copied = copies.align(first);
  t.is(copied.bytes!.byteOffset, 0);
  t.deepEqual(copied.bytes, Uint8Array.from(first.bytes!));
  const shorter = copies.align(floats(18_000, 3, Math.cbrt));
  t.is(shorter.bytes!.buffer, copied.bytes!.buffer);
  t.is(shorter.bytes!.byteLength, 72_000);
  const longer = copies.align(floats(30_000, 3, Math.cbrt));
  t.not(longer.bytes!.buffer, copied.bytes!.buffer);
});

test("answers of a session do not change when its next call uses the memory again", async (t) => {
  for (const model of [addModel(0), identityModel(1, ["n"])]) {
    const folder = await temporaryFolder(t, { "model.onnx": model });
    const session = await OnnxSession.load({
      model: "m",
      path: `${folder}/model.onnx`,
      settings: cpuSettings,
      intraOpThreads: 1,
    });
    t.teardown(() => session.release());
    const inputs = [floats(20_000, 1, Math.sqrt), floats(20_000, 1, Math.cbrt)];
    const answers = inputs.map((input) => session.run([input], ["y"]).outputs[0]!);
    for (const [index, { bytes }] of answers.entries()) {
      t.deepEqual(Uint8Array.from(bytes!), Uint8Array.from(inputs[index]!.bytes!));
    }
  }
});
