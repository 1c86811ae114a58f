import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallContext } from "./call-context.ts";
import type { InferRequest, InferResponse } from "./infer-messages.ts";

type Methods = typeof GRPCInferenceService.method;

/** One answer of ModelStreamInfer. */
export interface StreamInferResponse {
  /** Why the request failed; absent or empty if it did not. */
  readonly errorMessage?: string | undefined;
  /** The error itself, for those who answer with a status. */
  readonly error?: TensorwireError | undefined;
  readonly inferResponse?: InferResponse | undefined;
}

/**
 * GRPCInferenceService as plain functions of messages, so that gRPC, gRPC-Web, Connect and REST
 * answer through the same code. A component that speaks the protocol implements it.
 *
 * ModelInfer may answer before it returns. Every function throws {@link TensorwireError} for whatever it refuses. The messages that it
 * returns belong to the caller.
 */
export type InferenceBackend = {
  readonly [K in Exclude<keyof Methods, "modelInfer" | "modelStreamInfer">]: (
    request: MessageShape<Methods[K]["input"]>,
    context: CallContext,
  ) => Promise<MessageInitShape<Methods[K]["output"]>>;
} & {
  readonly modelInfer: (
    request: InferRequest,
    context: CallContext,
  ) => InferResponse | Promise<InferResponse>;
  readonly modelStreamInfer: (
    requests: AsyncIterable<InferRequest>,
    context: CallContext,
  ) => AsyncIterable<StreamInferResponse>;
};
