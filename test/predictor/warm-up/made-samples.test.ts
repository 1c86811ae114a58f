import test from "ava";
import type { DeclaredPort } from "../../../server/predictor/engines/engine.ts";
import { madeSamples } from "../../../server/predictor/warm-up/made-samples.ts";

const port = (
  datatype: DeclaredPort["datatype"],
  shape: number[] | undefined,
  optional = false,
): DeclaredPort => ({
  name: "x",
  datatype,
  shape,
  optional,
  labels: [],
});

const shapes = (inputs: readonly DeclaredPort[], maxRows = 0): (readonly number[])[][] =>
  madeSamples(inputs, maxRows).map((sample) => sample.map((tensor) => tensor.shape));

test("a free first dimension gives samples of 1, 64 and 4096 rows, other free dimensions are 1", (t) => {
  t.deepEqual(shapes([port("FP32", [-1, 4, -1])]), [[[1, 4, 1]], [[64, 4, 1]], [[4096, 4, 1]]]);
});

test("samples stay within the model's batch size and within 1 MiB", (t) => {
  t.deepEqual(shapes([port("FP32", [-1, 4])], 64), [[[1, 4]], [[64, 4]]]);
  t.deepEqual(shapes([port("FP32", [-1, 4])], 8), [[[1, 4]]]);
  t.deepEqual(shapes([port("FP32", [-1, 3, 224, 224])]), [[[1, 3, 224, 224]]]);
});

test("fixed shapes and scalars give one sample; BYTES are empty strings", (t) => {
  t.deepEqual(shapes([port("INT64", [])]), [[[]]]);
  t.deepEqual(shapes([port("FP32", [-1, 2]), port("FP32", [3])]), [[[1, 2], [3]]]);
  const [[tensor] = []] = madeSamples([port("BYTES", [2])], 0);
  t.deepEqual(tensor?.elements, [new Uint8Array(), new Uint8Array()]);
});

test("inputs with defaults are left out; without a rank, or above 64 MiB, there is no sample", (t) => {
  t.deepEqual(shapes([port("FP32", [1]), port("FP32", [1], true)]), [[[1]]]);
  t.deepEqual(shapes([port("FP32", undefined)]), []);
  t.deepEqual(shapes([port("FP32", [1, 1024, 1024, 17])]), []);
});
