import test from "ava";
import { ControlTensors } from "../../../server/predictor/sequences/control-tensors.ts";
import type { IdControl } from "../../../server/predictor/sequences/read-controls.ts";

function ofId(datatype: IdControl["datatype"], id: bigint | string) {
  const controls = { start: undefined, ready: undefined, end: undefined };
  const tensors = new ControlTensors({
    controls: { ...controls, id: { input: "id", datatype } },
    batched: true,
  });
  return tensors.ofId(id)[0]!;
}

test("ids have the bytes of the datatype that the model asks for", (t) => {
  const view = (datatype: IdControl["datatype"], id: bigint): DataView => {
    const { bytes } = ofId(datatype, id);
    return new DataView(bytes!.buffer);
  };
  t.is(view("UINT64", 2n ** 64n - 1n).getBigUint64(0, true), 2n ** 64n - 1n);
  t.is(view("INT64", 2n ** 63n - 1n).getBigInt64(0, true), 2n ** 63n - 1n);
  t.is(view("UINT32", 2n ** 32n - 1n).getUint32(0, true), 2 ** 32 - 1);
  t.is(view("INT32", 2n ** 31n - 1n).getInt32(0, true), 2 ** 31 - 1);
  t.is(Buffer.from(ofId("BYTES", "größer").elements![0]!).toString(), "größer");
  t.deepEqual(ofId("UINT64", 1n).shape, [1, 1]);
});

test("an id that the model's input cannot hold is refused", (t) => {
  for (const [datatype, id] of [
    ["UINT64", "text"],
    ["INT64", 2n ** 63n],
    ["UINT32", 2n ** 32n],
    ["INT32", 2n ** 31n],
    ["BYTES", 5n],
  ] as const) {
    t.throws(() => ofId(datatype, id), { message: /sequence_id.*which this model asks for/ });
  }
});

test("flags say start, ready and end in the model's own values; a row without a call is none of them", (t) => {
  const flag = (input: string) => {
    return { input, datatype: "BOOL", no: Uint8Array.of(0), yes: Uint8Array.of(1) } as const;
  };
  const id = { input: "id", datatype: "BYTES" } as const;
  const controls = { start: flag("s"), ready: flag("r"), end: flag("e"), id };
  const tensors = new ControlTensors({ controls, batched: false });
  const values = (start: boolean, end: boolean): unknown[] =>
    tensors.ofStep({ start, end }).map(({ name, bytes, shape }) => `${name} ${bytes![0]} ${shape}`);
  t.deepEqual(values(false, false), ["s 0 1", "r 1 1", "e 0 1"]);
  t.deepEqual(values(true, false), ["s 1 1", "r 1 1", "e 0 1"]);
  t.deepEqual(values(false, true), ["s 0 1", "r 1 1", "e 1 1"]);
  t.deepEqual(values(true, true), ["s 1 1", "r 1 1", "e 1 1"]);
  const blank = tensors.notReady.map(({ bytes, elements }) => bytes?.[0] ?? elements![0]!.length);
  t.deepEqual(blank, [0, 0, 0, 0]);
});
