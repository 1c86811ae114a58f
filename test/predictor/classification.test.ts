import test from "ava";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { classify } from "../../server/predictor/classification.ts";
import type { Tensor } from "../../server/tensor/tensor.ts";
import { bytesOf } from "../../server/tensor/typed-array.ts";

const fp32 = (shape: number[], values: number[]): Tensor => ({
  name: "p",
  datatype: "FP32",
  shape,
  bytes: bytesOf(Float32Array.from(values)),
});

function texts(tensor: Tensor): string[] {
  return tensor.elements!.map((element) => Buffer.from(element).toString());
}

test("each row names its best classes, best first, with score, index and label", (t) => {
  const named = classify(fp32([2, 3], [0.25, 0.5, 0.125, 3, 2, 1]), 2, ["a", "b"]);
  t.deepEqual(named.shape, [2, 2]);
  t.is(named.datatype, "BYTES");
  t.deepEqual(texts(named), ["0.500000:1:b", "0.250000:0:a", "3.000000:0:a", "2.000000:1:b"]);
});

test("more classes than there are give all of them; a class without a label goes without", (t) => {
  const named = classify(fp32([1, 2], [1, 2]), 9, ["only"]);
  t.deepEqual(named.shape, [1, 2]);
  t.deepEqual(texts(named), ["2.000000:1", "1.000000:0:only"]);
});

test("ties go to the lower index and NaN comes last", (t) => {
  t.deepEqual(texts(classify(fp32([4], [Number.NaN, 1, 1, 2]), 4, [])), [
    "2.000000:3",
    "1.000000:1",
    "1.000000:2",
    "NaN:0",
  ]);
});

test("integers are written whole", (t) => {
  const scores: Tensor = {
    name: "p",
    datatype: "INT64",
    shape: [2],
    bytes: bytesOf(BigInt64Array.of(5n, 2n ** 60n)),
  };
  t.deepEqual(texts(classify(scores, 1, [])), [`${2n ** 60n}:1`]);
});

test("half precision scores are compared by value, not by pattern", (t) => {
  const scores: Tensor = {
    name: "p",
    datatype: "FP16",
    shape: [2],
    bytes: bytesOf(Uint16Array.of(0xbc00, 0x3800)),
  };
  t.deepEqual(texts(classify(scores, 2, [])), ["0.500000:1", "-1.000000:0"]);
});

test("a scalar and BYTES have no classes", (t) => {
  t.throws(() => classify(fp32([], [1]), 1, []), {
    instanceOf: TensorwireError,
    message: /scalar/,
  });
  const bytes: Tensor = { name: "p", datatype: "BYTES", shape: [1], elements: [new Uint8Array()] };
  t.throws(() => classify(bytes, 1, []), { instanceOf: TensorwireError, message: /BYTES/ });
});
