import test from "ava";
import fc from "fast-check";
import {
  canJoin,
  hasPlainRows,
  haveRows,
  joinRows,
  takeRows,
} from "../../../server/predictor/scheduling/batch-tensors.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";

const floats = (name: string, shape: number[], first = 0): Tensor => {
  const count = shape.reduce((product, size) => product * size, 1);
  const values = Float32Array.from({ length: count }, (_, index) => first + index);
  return { name, datatype: "FP32", shape, bytes: new Uint8Array(values.buffer) };
};
const texts = (name: string, shape: number[], first = 0): Tensor => {
  const count = shape.reduce((product, size) => product * size, 1);
  const elements = Array.from({ length: count }, (_, index) => Buffer.from(`t${first + index}`));
  return { name, datatype: "BYTES", shape, elements };
};

test("rows that were joined come apart as they were", (t) => {
  const calls = fc.array(fc.integer({ min: 1, max: 5 }), { minLength: 1, maxLength: 8 });
  const rest = fc.array(fc.integer({ min: 0, max: 4 }), { maxLength: 3 });
  fc.assert(
    fc.property(calls, rest, (rows, dims) => {
      const given = rows.map((count, index) => [
        floats("x", [count, ...dims], index * 1000),
        texts("s", [count, ...dims], index * 1000),
      ]);
      const joined = joinRows(given);
      const total = rows.reduce((sum, count) => sum + count, 0);
      t.true(haveRows(joined, total));
      t.deepEqual(joined[0]!.shape, [total, ...dims]);
      let start = 0;
      for (const [index, count] of rows.entries()) {
        const taken = takeRows(joined, start, count, total);
        t.deepEqual(
          taken.map(({ shape }) => shape),
          [
            [count, ...dims],
            [count, ...dims],
          ],
        );
        t.true(Buffer.from(taken[0]!.bytes!).equals(given[index]![0]!.bytes!));
        t.deepEqual(taken[1]!.elements, given[index]![1]!.elements);
        start += count;
      }
    }),
  );
});

test("what can be one batch: the same but for the rows", (t) => {
  const one = [floats("x", [2, 3]), texts("s", [2])];
  t.true(canJoin(one, [floats("x", [5, 3]), texts("s", [5])]));
  t.false(canJoin(one, [floats("x", [2, 4]), texts("s", [2])]));
  t.false(canJoin(one, [floats("x", [2, 3, 1]), texts("s", [2])]));
  t.false(canJoin(one, [floats("y", [2, 3]), texts("s", [2])]));
  t.false(canJoin(one, [texts("x", [2, 3]), texts("s", [2])]));
  t.false(canJoin(one, [floats("x", [2, 3])]));
});

test("calls whose inputs have no rows, or not the same number, share no batch", (t) => {
  t.true(hasPlainRows([floats("x", [2, 3]), texts("s", [2])]));
  t.false(hasPlainRows([floats("x", [2, 3]), texts("s", [1])]));
  t.false(hasPlainRows([floats("x", [0, 3])]));
  t.false(hasPlainRows([floats("x", [])]));
  t.false(hasPlainRows([]));
});
