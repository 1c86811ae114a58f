import test from "ava";
import type { DeclaredPort, EngineModel } from "../../../server/predictor/engines/engine.ts";
import {
  type DerivedBatching,
  deriveBatching,
  worthwhileRows,
} from "../../../server/predictor/scheduling/derive-batching.ts";
import { sameTensors } from "../../../server/predictor/scheduling/same-tensors.ts";
import { sampleRows } from "../../../server/predictor/scheduling/sample-rows.ts";
import type { Datatype } from "../../../server/tensor/datatype.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";

const port = (
  name: string,
  shape: number[] | undefined,
  datatype: Datatype = "FP32",
): DeclaredPort => ({
  name,
  datatype,
  shape,
  optional: false,
  labels: [],
});

type Compute = (rows: readonly (readonly number[])[]) => readonly (readonly number[])[];

/** A model of one FP32 input `x` of two columns, whose time is told, not measured. */
function derive(
  compute: Compute,
  { shape = [-1, 2], perRowNs = 1, oneNs = 1000 } = {},
): Promise<DerivedBatching> {
  const engine = {
    outputs: [port("y", [-1, 1])],
    async run(inputs: readonly Tensor[]) {
      const [x] = inputs;
      const values = [...new Float32Array(Uint8Array.from(x!.bytes!).buffer)];
      const count = x!.shape[0] ?? 1;
      const width = values.length / count;
      const rows = Array.from({ length: count }, (_, row) =>
        values.slice(row * width, (row + 1) * width),
      );
      const out = compute(rows);
      const flat = Float32Array.from(out.flat());
      return {
        outputs: [
          {
            name: "y",
            datatype: "FP32" as const,
            shape: [out.length, flat.length / Math.max(out.length, 1)],
            bytes: new Uint8Array(flat.buffer),
          },
        ],
        inferNs: oneNs + (count - 1) * perRowNs,
      };
    },
  } as unknown as EngineModel;
  return deriveBatching(engine, [port("x", shape)]);
}

const sum = (values: readonly number[]): number =>
  values.reduce((total, value) => total + value, 0);

test("rows that do not know of each other are batched", async (t) => {
  t.deepEqual(await derive((rows) => rows.map((row) => [sum(row)])), {
    kind: "batched",
    maxRows: 1024,
  });
});

const mixing: Readonly<Record<string, Compute>> = {
  "the mean of the batch": (rows) => rows.map((row) => [sum(row) - sum(rows.flat()) / rows.length]),
  "the first row": (rows) => rows.map((row) => [sum(row) + rows[0]![0]!]),
  "the place in the batch": (rows) => rows.map((row, index) => [sum(row) + index]),
  "the size of the batch": (rows) => rows.map((row) => [sum(row) * rows.length]),
  "the order": (rows) => [...rows].reverse().map((row) => [sum(row)]),
  chance: (rows) => rows.map((row) => [sum(row) + Math.random()]),
  "one row for all": (rows) => [[sum(rows.flat())]],
};
for (const [name, compute] of Object.entries(mixing)) {
  test(`a model is not batched that looks at ${name}`, async (t) => {
    t.like(await derive(compute), { kind: "alone", cause: "mixes rows" });
  });
}

test("a model that cannot be tried out, or has no free first dimension, is not batched", async (t) => {
  const failing = await derive(() => {
    throw new Error("index out of range");
  });
  t.like(failing, { kind: "alone", cause: "untried" });
  t.regex((failing as { why: string }).why, /index out of range/);
  t.like(await derive((rows) => rows.map(() => [1]), { shape: [1, 2] }), { kind: "alone" });
});

test("a batch that takes as long as its rows one by one does not pay", async (t) => {
  const rowwise: Compute = (rows) => rows.map((row) => [sum(row)]);
  t.like(await derive(rowwise, { oneNs: 1000, perRowNs: 900 }), {
    kind: "alone",
    cause: "does not pay",
  });
  t.like(await derive(rowwise, { oneNs: 1000, perRowNs: 100 }), { kind: "batched", maxRows: 31 });
});

test("rows that pay, by hand: a run of them takes four times as long as one of one row", (t) => {
  // 8 us, and 0.1 us for each further row: 1 + 24 / 0.1.
  t.is(worthwhileRows(8, 8 + 63 * 0.1, 64), 241);
  t.is(worthwhileRows(8, 8, 64), 1024);
  t.is(worthwhileRows(8, 7, 64), 1024);
  t.is(worthwhileRows(8, 8 + 63 * 4, 64), 1);
  t.is(worthwhileRows(1000, 1000 + 63 * 300, 64), 11);
});

test("sample rows differ, and are the same each time and however they are taken", (t) => {
  for (const datatype of [
    "FP64",
    "FP32",
    "FP16",
    "BF16",
    "INT64",
    "UINT8",
    "BOOL",
    "BYTES",
  ] as const) {
    const ports = [port("x", [-1, 16], datatype)];
    const [together] = sampleRows(ports, 0, 3);
    const rows = [0, 1, 2].map((row) => sampleRows(ports, row, 1)[0]!);
    if (together!.bytes) {
      t.true(
        Buffer.from(together!.bytes).equals(Buffer.concat(rows.map((row) => row.bytes!))),
        datatype,
      );
      t.false(Buffer.from(rows[0]!.bytes!).equals(rows[1]!.bytes!), datatype);
    } else
      t.deepEqual(
        together!.elements,
        rows.flatMap((row) => row.elements ?? []),
      );
  }
});

test("tensors are the same with a rounding error, and not with more", (t) => {
  const of = (...values: number[]): Tensor[] => [
    {
      name: "y",
      datatype: "FP64",
      shape: [values.length],
      bytes: new Uint8Array(Float64Array.from(values).buffer),
    },
  ];
  t.true(sameTensors(of(1, 2e6, Number.NaN), of(1.0005, 2.001e6, Number.NaN)));
  t.true(sameTensors(of(0), of(1e-6)));
  t.false(sameTensors(of(1), of(1.01)));
  t.false(sameTensors(of(0), of(0.01)));
  t.false(sameTensors(of(1), of(1, 2)));
  t.false(sameTensors(of(1), of(Number.NaN)));
});
