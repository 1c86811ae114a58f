import { fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import { InferenceSession, Tensor } from "onnxruntime-node";
import {
  type AttributeProtoSchema,
  type GraphProto,
  ModelProtoSchema,
  TensorProto_DataType,
  type TensorProtoSchema,
} from "../../gen/onnx/onnx_pb.ts";

/** Runs a model of float inputs in ONNX Runtime as it is written, and gives its float outputs. */
export async function runModel(
  bytes: Uint8Array,
  inputs: Readonly<Record<string, readonly [values: Float32Array, shape: readonly number[]]>>,
): Promise<Readonly<Record<string, readonly number[]>>> {
  const session = await InferenceSession.create(bytes, {
    graphOptimizationLevel: "disabled",
    logSeverityLevel: 4,
  });
  const feeds = Object.fromEntries(
    Object.entries(inputs).map(([name, [values, shape]]) => [
      name,
      new Tensor("float32", values, shape),
    ]),
  );
  const results = await session.run(feeds);
  await session.release();
  return Object.fromEntries(
    Object.entries(results).map(([name, { data }]) => [name, Array.from(data as Float32Array)]),
  );
}

/** Values of a smooth function: no two rows or columns are alike, and all are at most 1. */
export function wave(count: number, pace = 1): Float32Array {
  return Float32Array.from({ length: count }, (_, index) => Math.sin(index * 0.37 * pace + pace));
}

/** A constant of floats; {@link wave} without values. */
export function weights(
  name: string,
  dims: readonly number[],
  values: Float32Array = wave(dims.reduce((product, size) => product * size, 1)),
): MessageInitShape<typeof TensorProtoSchema> {
  return {
    name,
    dims: dims.map(BigInt),
    dataType: TensorProto_DataType.FLOAT,
    rawData: new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  };
}

/** An attribute that is an integer. */
export function integer(
  name: string,
  value: number,
): MessageInitShape<typeof AttributeProtoSchema> {
  return { name, type: 2, i: BigInt(value) };
}

/** An attribute that is a float. */
export function float(name: string, value: number): MessageInitShape<typeof AttributeProtoSchema> {
  return { name, type: 1, f: value };
}

/** The graph of a model. */
export function graphOf(bytes: Uint8Array): GraphProto {
  return fromBinary(ModelProtoSchema, bytes).graph!;
}

/** Operators of a model in the order of its nodes. */
export function operators(bytes: Uint8Array): string[] {
  return graphOf(bytes).node.map(({ opType }) => opType);
}

/** Largest difference, as a part of the largest magnitude. */
export function difference(left: readonly number[], right: readonly number[]): number {
  const magnitude = Math.max(...left.map(Math.abs));
  return Math.max(...left.map((value, index) => Math.abs(value - right[index]!))) / magnitude;
}
