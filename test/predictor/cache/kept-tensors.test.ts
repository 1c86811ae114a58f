import test from "ava";
import { copyTensors, ownTensors } from "../../../server/predictor/cache/kept-tensors.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";

const fixed = (bytes: Uint8Array): Tensor => ({
  name: "y",
  datatype: "UINT8",
  shape: [bytes.byteLength],
  bytes,
});

test("a tensor that owns all of its buffer is not copied", (t) => {
  const tensors = [fixed(Uint8Array.of(1, 2))];
  t.is(ownTensors(tensors), tensors);
});

test("views on a larger buffer, shared memory and elements are copied", (t) => {
  const batch = Uint8Array.of(1, 2, 3, 4);
  const shared = new Uint8Array(new SharedArrayBuffer(2));
  shared.set([5, 6]);
  const elements = [batch.subarray(0, 1), batch.subarray(1, 4)];
  const given: Tensor[] = [
    fixed(batch.subarray(1, 3)),
    fixed(shared),
    { name: "s", datatype: "BYTES", shape: [2], elements },
  ];
  const owned = ownTensors(given);
  const copied = copyTensors([fixed(batch)]);
  batch.fill(0);
  shared.fill(0);
  t.deepEqual(owned[0]!.bytes, Uint8Array.of(2, 3));
  t.is(owned[0]!.bytes!.buffer.byteLength, 2);
  t.deepEqual(owned[1]!.bytes, Uint8Array.of(5, 6));
  t.true(owned[1]!.bytes!.buffer instanceof ArrayBuffer);
  t.deepEqual(
    owned[2]!.elements!.map((element) => [...element]),
    [[1], [2, 3, 4]],
  );
  t.deepEqual(copied[0]!.bytes, Uint8Array.of(1, 2, 3, 4));
});
