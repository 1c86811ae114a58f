import test from "ava";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { bytesOf, viewTypedArray } from "../../server/tensor/typed-array.ts";

test("viewTypedArray shares memory where contents are aligned", (t) => {
  const bytes = new Uint8Array(new Float32Array([1.5, -2]).buffer);
  const view = viewTypedArray("x", "FP32", bytes, [2]);
  t.is(view.buffer, bytes.buffer);
  t.deepEqual([...view], [1.5, -2]);
});

test("viewTypedArray copies contents that start off a boundary of the element size", (t) => {
  const bytes = Buffer.from(new ArrayBuffer(9), 1, 8);
  bytes.writeDoubleLE(1.25);
  t.deepEqual([...viewTypedArray("x", "FP64", bytes, [1])], [1.25]);
});

test("viewTypedArray names both byte counts when shape and contents disagree", (t) => {
  t.throws(() => viewTypedArray("x", "FP32", new Uint8Array(6), [2]), {
    instanceOf: TensorwireError,
    message: /got 6 bytes, expected 8/,
  });
});

test("viewTypedArray takes an empty tensor of any shape with a zero", (t) => {
  t.is(viewTypedArray("x", "INT64", new Uint8Array(0), [3, 0, 5]).length, 0);
});

test("bytesOf is the inverse of viewTypedArray", (t) => {
  const array = BigInt64Array.of(-1n, 2n ** 62n);
  t.deepEqual(viewTypedArray("x", "INT64", bytesOf(array), [2]), array);
});
