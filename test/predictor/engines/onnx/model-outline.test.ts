import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fromBinary } from "@bufbuild/protobuf";
import test from "ava";
import fc from "fast-check";
import { ModelProtoSchema, TensorProto_DataType } from "../../../../gen/onnx/onnx_pb.ts";
import { FileSource, memorySource } from "../../../../server/predictor/engines/onnx/byte-source.ts";
import { readModelOutline } from "../../../../server/predictor/engines/onnx/model-outline.ts";
import { onnxModel, tensorInfo } from "../../../support/onnx-model.ts";
import { temporaryFolder } from "../../../support/temporary-folder.ts";

const float = TensorProto_DataType.FLOAT;

const models = fc
  .array(
    fc.record({
      // Weights from none to more than the part of a file that is read at once.
      bytes: fc.integer({ min: 0, max: 150_000 }),
      operator: fc.constantFrom("MatMul", "Add", "Loop"),
      name: fc.string({ maxLength: 200 }),
      external: fc.boolean(),
    }),
    { maxLength: 12 },
  )
  .map((layers) =>
    onnxModel({
      node: layers.map(({ operator, name }) => ({ opType: operator, name, input: [name] })),
      initializer: layers.map(({ bytes, name, external }) => ({
        name,
        dims: [BigInt(bytes)],
        dataType: TensorProto_DataType.UINT8,
        rawData: new Uint8Array(bytes).fill(0x2a),
        externalData: external ? [{ key: "location", value: "w" }] : [],
      })),
      input: [tensorInfo("x", float, ["n", 4])],
      output: [tensorInfo("y", float, ["n"])],
      docString: "behind the rest",
    }),
  );

test("the outline of a file is what the whole message says, whatever its weights weigh", async (t) => {
  const folder = await temporaryFolder(t, {});
  const path = join(folder, "model.onnx");
  await fc.assert(
    fc.asyncProperty(models, async (bytes) => {
      await writeFile(path, bytes);
      const file = new FileSource(path);
      const outline = readModelOutline(file);
      // A part is good until the next.
      const parts = Buffer.concat(Array.from(file.parts(), (part) => Buffer.from(part)));
      file.close();
      const { graph, irVersion } = fromBinary(ModelProtoSchema, bytes);
      const tensors = graph?.initializer ?? [];
      t.deepEqual(outline, {
        irVersion: Number(irVersion),
        inputs: graph!.input,
        outputs: graph!.output,
        initializers: new Set(tensors.map(({ name }) => name)),
        operators: new Set(graph?.node.map(({ opType }) => opType)),
        external: tensors.some(({ externalData }) => externalData.length > 0),
        hasFunctions: false,
      });
      t.deepEqual(readModelOutline(memorySource(bytes)), outline);
      t.true(parts.equals(bytes));
    }),
    { numRuns: 40 },
  );
});

test("a model that is cut short anywhere is refused", (t) => {
  fc.assert(
    fc.property(models, fc.double({ min: 0, max: 1, noNaN: true }), (bytes, share) => {
      // A cut between two fields of the model leaves one without the rest, as every protobuf message.
      const cut = bytes.subarray(0, Math.floor(share * (bytes.byteLength - 40)));
      t.throws(() => readModelOutline(memorySource(cut)));
    }),
    { numRuns: 60 },
  );
});
