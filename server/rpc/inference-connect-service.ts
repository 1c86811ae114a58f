import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectRouter, HandlerContext } from "@connectrpc/connect";
import {
  GRPCInferenceService,
  type ModelStreamInferResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { peerKey } from "../wire/peer.ts";
import { principalKey } from "./access-gate.ts";
import { type CallContext, SignalCallContext } from "./call-context.ts";
import { inferResponseMessage } from "./infer-messages.ts";
import type { InferenceBackend, StreamInferResponse } from "./inference-backend.ts";

/** Serves an {@link InferenceBackend} over gRPC, gRPC-Web and Connect. */
export function registerInferenceService(router: ConnectRouter, backend: InferenceBackend): void {
  router.service(GRPCInferenceService, {
    serverLive: (request, context) => backend.serverLive(request, callContext(context)),
    serverReady: (request, context) => backend.serverReady(request, callContext(context)),
    modelReady: (request, context) => backend.modelReady(request, callContext(context)),
    serverMetadata: (request, context) => backend.serverMetadata(request, callContext(context)),
    modelMetadata: (request, context) => backend.modelMetadata(request, callContext(context)),
    modelInfer: async (request, context) =>
      inferResponseMessage(await backend.modelInfer(request, callContext(context))),
    modelStreamInfer: (requests, context) =>
      streamMessages(backend.modelStreamInfer(requests, callContext(context))),
    modelConfig: (request, context) => backend.modelConfig(request, callContext(context)),
    modelStatistics: (request, context) => backend.modelStatistics(request, callContext(context)),
    repositoryIndex: (request, context) => backend.repositoryIndex(request, callContext(context)),
    repositoryModelLoad: (request, context) =>
      backend.repositoryModelLoad(request, callContext(context)),
    repositoryModelUnload: (request, context) =>
      backend.repositoryModelUnload(request, callContext(context)),
    systemSharedMemoryStatus: (request, context) =>
      backend.systemSharedMemoryStatus(request, callContext(context)),
    systemSharedMemoryRegister: (request, context) =>
      backend.systemSharedMemoryRegister(request, callContext(context)),
    systemSharedMemoryUnregister: (request, context) =>
      backend.systemSharedMemoryUnregister(request, callContext(context)),
    cudaSharedMemoryStatus: (request, context) =>
      backend.cudaSharedMemoryStatus(request, callContext(context)),
    cudaSharedMemoryRegister: (request, context) =>
      backend.cudaSharedMemoryRegister(request, callContext(context)),
    cudaSharedMemoryUnregister: (request, context) =>
      backend.cudaSharedMemoryUnregister(request, callContext(context)),
    traceSetting: (request, context) => backend.traceSetting(request, callContext(context)),
    logSettings: (request, context) => backend.logSettings(request, callContext(context)),
  });
}

async function* streamMessages(
  responses: AsyncIterable<StreamInferResponse>,
): AsyncIterable<MessageInitShape<typeof ModelStreamInferResponseSchema>> {
  for await (const { errorMessage, inferResponse } of responses) {
    yield {
      ...(errorMessage === undefined ? {} : { errorMessage }),
      ...(inferResponse === undefined
        ? {}
        : { inferResponse: inferResponseMessage(inferResponse) }),
    };
  }
}

function callContext({ signal, values, requestHeader }: HandlerContext): CallContext {
  return new SignalCallContext(
    signal,
    values.get(peerKey),
    requestHeader,
    values.get(principalKey),
  );
}
