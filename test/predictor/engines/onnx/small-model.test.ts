import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { TensorProto_DataLocation, TensorProto_DataType } from "../../../../gen/onnx/onnx_pb.ts";
import { readSmallModel } from "../../../../server/predictor/engines/onnx/small-model.ts";
import { addModel, onnxModel, tensorInfo } from "../../../support/onnx-model.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const float = TensorProto_DataType.FLOAT;
const slow = fileURLToPath(new URL("../../../fixtures/models/slow/1/model.onnx", import.meta.url));

/** y = x + weights, with as many weights as one row of x has elements. */
const weighted = (count: number, location?: TensorProto_DataLocation): Uint8Array =>
  onnxModel({
    node: [{ opType: "Add", input: ["x", "w"], output: ["y"] }],
    initializer: [
      location === undefined
        ? { name: "w", dims: [BigInt(count)], dataType: float, rawData: new Uint8Array(4 * count) }
        : {
            name: "w",
            dims: [BigInt(count)],
            dataType: float,
            dataLocation: location,
            externalData: [{ key: "location", value: "weights.bin" }],
          },
    ],
    input: [tensorInfo("x", float, ["n", count])],
    output: [tensorInfo("y", float, ["n", count])],
  });

test("a model of a few bytes is small, and its contents are given", async (t) => {
  const folder = await temporaryFolder(t, { "model.onnx": addModel(1) });
  const contents = await readSmallModel(join(folder, "model.onnx"));
  t.deepEqual(contents && Buffer.from(contents), Buffer.from(addModel(1)));
});

test("large files, much work, loops, weights elsewhere, and what is no model are not small", async (t) => {
  const folder = await temporaryFolder(t, {
    // 4 096 elements meet 16 KB of weights: 2 to the power of 26 products at most.
    "work.onnx": weighted(4096),
    "large.onnx": weighted(70_000),
    "external.onnx": weighted(1, TensorProto_DataLocation.EXTERNAL),
    "none.onnx": "no model",
  });
  for (const name of ["work", "large", "external", "none", "missing"]) {
    t.is(await readSmallModel(join(folder, `${name}.onnx`)), undefined, name);
  }
  t.is(await readSmallModel(slow), undefined);
});
