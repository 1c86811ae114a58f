import { create, toBinary } from "@bufbuild/protobuf";
import test from "ava";
import { ModelProtoSchema, TensorProto_DataType } from "../../../../gen/onnx/onnx_pb.ts";
import { memorySource } from "../../../../server/predictor/engines/onnx/byte-source.ts";
import { planGraph } from "../../../../server/predictor/engines/onnx/graph-plan.ts";
import { addModel, identityModel, onnxModel, tensorInfo } from "../../../support/onnx-model.ts";

const float = TensorProto_DataType.FLOAT;

const modelOf = (opType: string): Uint8Array =>
  onnxModel({
    node: [{ opType, input: ["x"], output: ["y"] }],
    input: [tensorInfo("x", float, ["n"])],
    output: [tensorInfo("y", float, ["n"])],
  });

test("a graph that computes gives equal outputs for equal inputs, adapted or not", (t) => {
  t.true(planGraph("m", memorySource(addModel(1))).isDeterministic);
  t.true(
    planGraph("m", memorySource(identityModel(TensorProto_DataType.BFLOAT16))).isDeterministic,
  );
});

for (const opType of ["RandomNormalLike", "Multinomial", "Dropout", "If"]) {
  test(`a graph with ${opType} may give others`, (t) => {
    t.false(planGraph("m", memorySource(modelOf(opType))).isDeterministic);
  });
}

test("a graph may give others where the file has functions of its own, which may be random", (t) => {
  const model = create(ModelProtoSchema, {
    irVersion: 8n,
    opsetImport: [{ domain: "", version: 17n }],
    graph: {
      name: "graph",
      node: [{ opType: "Own", domain: "own", input: ["x"], output: ["y"] }],
      input: [tensorInfo("x", float, ["n"])],
      output: [tensorInfo("y", float, ["n"])],
    },
    functions: [
      {
        name: "Own",
        domain: "own",
        input: ["a"],
        output: ["b"],
        node: [{ opType: "RandomNormalLike", input: ["a"], output: ["b"] }],
      },
    ],
  });
  t.false(planGraph("m", memorySource(toBinary(ModelProtoSchema, model))).isDeterministic);
});
