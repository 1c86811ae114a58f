import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ModelInferRequestSchema,
  ModelInferResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import type { BenchCall } from "./bench-case.ts";
import { compareOutputs, type ExpectedOutput } from "./compare-outputs.ts";

/** An input tensor with raw contents. */
export interface RawInput {
  readonly name: string;
  readonly datatype: string;
  readonly shape: readonly number[];
  /** Little-endian elements in row-major order. */
  readonly bytes: Uint8Array;
}

/** A ModelInfer call with raw contents, whose answer is compared with expected outputs. */
export function inferCall(
  model: string,
  inputs: readonly RawInput[],
  expected: readonly ExpectedOutput[],
): BenchCall {
  const request = create(ModelInferRequestSchema, {
    modelName: model,
    inputs: inputs.map(({ name, datatype, shape }) => ({
      name,
      datatype,
      shape: shape.map(BigInt),
    })),
    rawInputContents: inputs.map(({ bytes }) => bytes),
  });
  return {
    path: "/inference.GRPCInferenceService/ModelInfer",
    request: toBinary(ModelInferRequestSchema, request),
    model,
    check: (response) => compareOutputs(fromBinary(ModelInferResponseSchema, response), expected),
  };
}
