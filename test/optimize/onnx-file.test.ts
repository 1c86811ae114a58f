import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import test from "ava";
import {
  ModelProtoSchema,
  TensorProto_DataType,
  type TensorProtoSchema,
} from "../../gen/onnx/onnx_pb.ts";
import { encodeOnnxFile, readOnnxFile } from "../../server/optimize/onnx-file.ts";
import { identityModel, onnxModel, tensorInfo } from "../support/onnx-model.ts";

const { FLOAT } = TensorProto_DataType;

test("a model that is read and encoded is the same", (t) => {
  const bytes = identityModel();
  const file = readOnnxFile("m", bytes);
  t.is(file.opset, 17);
  t.deepEqual(
    fromBinary(ModelProtoSchema, encodeOnnxFile(file)),
    fromBinary(ModelProtoSchema, bytes),
  );
});

test("weights in other files are refused by name", (t) => {
  const external: MessageInitShape<typeof TensorProtoSchema> = {
    name: "w",
    dims: [2n],
    dataType: FLOAT,
    dataLocation: 1,
    externalData: [{ key: "location", value: "weights.bin" }],
  };
  const output = [tensorInfo("y", FLOAT)];
  const initializer = [external];
  const node = [{ opType: "Identity", input: ["w"], output: ["y"] }];
  const expected = {
    message: /weight "w" is kept in weights\.bin; .*export it without external data/,
  };
  t.throws(() => readOnnxFile("m", onnxModel({ node, initializer, output })), expected);
  const constant = [
    {
      opType: "Constant",
      output: ["y"],
      attribute: [{ name: "value", type: 4 as const, t: external }],
    },
  ];
  t.throws(() => readOnnxFile("m", onnxModel({ node: constant, output })), expected);
  const branch = { name: "b", node, initializer, output };
  const choice = [
    {
      opType: "If",
      input: ["c"],
      output: ["y"],
      attribute: [{ name: "then_branch", type: 5 as const, g: branch }],
    },
  ];
  t.throws(() => readOnnxFile("m", onnxModel({ node: choice, output })), expected);
});

test("bytes that are no model are refused", (t) => {
  t.throws(() => readOnnxFile("m", new TextEncoder().encode("no model at all")), {
    message: /model "m" failed to load: the file is no ONNX model|holds no ONNX graph/,
  });
  t.throws(() => readOnnxFile("m", new Uint8Array()), { message: /holds no ONNX graph/ });
});
