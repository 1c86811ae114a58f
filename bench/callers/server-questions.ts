import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import {
  ModelReadyRequestSchema,
  ModelReadyResponseSchema,
  ServerMetadataResponseSchema,
  ServerReadyResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { callUnary } from "./grpc-call.ts";

const service = "/inference.GRPCInferenceService";
const deadlineMs = 5_000;

/** Whether the server says that it is ready; false if it cannot be reached. */
export async function isServerReady(port: number): Promise<boolean> {
  try {
    const answer = await callUnary(port, `${service}/ServerReady`, new Uint8Array(0), deadlineMs);
    return fromBinary(ServerReadyResponseSchema, answer).ready;
  } catch {
    // Nothing listens yet, or the server refuses calls until it is ready.
    return false;
  }
}

/** @throws Error if the model is not ready */
export async function requireModel(port: number, model: string): Promise<void> {
  const request = toBinary(
    ModelReadyRequestSchema,
    create(ModelReadyRequestSchema, { name: model }),
  );
  const answer = await callUnary(port, `${service}/ModelReady`, request, deadlineMs);
  if (!fromBinary(ModelReadyResponseSchema, answer).ready) {
    throw new Error(`model "${model}" is not ready`);
  }
}

/** Version that the server gives of itself. */
export async function serverVersion(port: number): Promise<string> {
  const answer = await callUnary(port, `${service}/ServerMetadata`, new Uint8Array(0), deadlineMs);
  return fromBinary(ServerMetadataResponseSchema, answer).version;
}
