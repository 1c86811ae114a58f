import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type GraphProtoSchema,
  ModelProtoSchema,
  TensorProto_DataType,
  type ValueInfoProtoSchema,
} from "../../gen/onnx/onnx_pb.ts";

type ValueInfo = MessageInitShape<typeof ValueInfoProtoSchema>;

/** Declares a tensor; strings are free dimensions, no shape is no rank. */
export function tensorInfo(
  name: string,
  elemType: number,
  shape?: readonly (number | string)[],
): ValueInfo {
  const dim = shape?.map((size) => ({
    value:
      typeof size === "number"
        ? { case: "dimValue" as const, value: BigInt(size) }
        : { case: "dimParam" as const, value: size },
  }));
  return {
    name,
    type: {
      value: { case: "tensorType", value: { elemType, ...(dim ? { shape: { dim } } : {}) } },
    },
  };
}

/** Serializes a graph as an ONNX model. */
export function onnxModel(
  graph: MessageInitShape<typeof GraphProtoSchema>,
  irVersion = 8n,
): Uint8Array {
  return toBinary(
    ModelProtoSchema,
    create(ModelProtoSchema, {
      irVersion,
      opsetImport: [
        { domain: "", version: 17n },
        { domain: "ai.onnx.ml", version: 3n },
      ],
      graph: { name: "graph", ...graph },
    }),
  );
}

/** A model that answers its input `x` as output `y`. */
export function identityModel(
  elemType: number = TensorProto_DataType.FLOAT,
  shape: readonly (number | string)[] = ["n", "m"],
): Uint8Array {
  return onnxModel({
    node: [{ opType: "Identity", input: ["x"], output: ["y"] }],
    input: [tensorInfo("x", elemType, shape)],
    output: [tensorInfo("y", elemType, shape)],
  });
}

/** A model that adds a constant to its input `x`, so that versions can be told apart. */
export function addModel(value: number): Uint8Array {
  return onnxModel({
    node: [{ opType: "Add", input: ["x", "value"], output: ["y"] }],
    initializer: [
      { name: "value", dims: [], dataType: TensorProto_DataType.FLOAT, floatData: [value] },
    ],
    input: [tensorInfo("x", TensorProto_DataType.FLOAT, ["n"])],
    output: [tensorInfo("y", TensorProto_DataType.FLOAT, ["n"])],
  });
}
