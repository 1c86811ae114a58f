import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ModelInferRequestSchema,
  ModelInferResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import type { BareCall, BareInput, BenchCall } from "./bench-case.ts";
import { compareContents, compareOutputs, type ExpectedOutput } from "./compare-outputs.ts";

/** An input tensor with raw contents. */
export interface RawInput extends BareInput {
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
    rows: inputs[0]?.shape[0] ?? 1,
    bare: bareCall(model, inputs, expected),
    check: (response) => compareOutputs(fromBinary(ModelInferResponseSchema, response), expected),
  };
}

function bareCall(
  model: string,
  inputs: readonly RawInput[],
  expected: readonly ExpectedOutput[],
): BareCall {
  const answerBytes = expected.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
  return {
    model,
    inputs: inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
    contents: Buffer.concat(inputs.map(({ bytes }) => bytes)),
    outputs: expected.map(({ name }) => name),
    answerBytes,
    check(contents) {
      if (contents.byteLength !== answerBytes) {
        throw new Error(`the answer has ${contents.byteLength} bytes, expected ${answerBytes}`);
      }
      let at = 0;
      for (const output of expected) {
        compareContents(output, contents.subarray(at, at + output.bytes.byteLength));
        at += output.bytes.byteLength;
      }
    },
  };
}
