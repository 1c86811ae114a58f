import type { MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import type { CallContext } from "./call-context.ts";

type Methods = typeof GRPCInferenceService.method;

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
    request: MessageShape<Methods["modelInfer"]["input"]>,
    context: CallContext,
  ) =>
    | MessageInitShape<Methods["modelInfer"]["output"]>
    | Promise<MessageInitShape<Methods["modelInfer"]["output"]>>;
  readonly modelStreamInfer: (
    requests: AsyncIterable<MessageShape<Methods["modelStreamInfer"]["input"]>>,
    context: CallContext,
  ) => AsyncIterable<MessageInitShape<Methods["modelStreamInfer"]["output"]>>;
};
