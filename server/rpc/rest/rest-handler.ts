import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  CudaSharedMemoryRegisterRequestSchema,
  CudaSharedMemoryUnregisterRequestSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { fromUnknown } from "../../errors/from-unknown.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { peerKey } from "../../wire/peer.ts";
import { PeerGoneError } from "../../wire/request-signal.ts";
import { principalKey } from "../access-gate.ts";
import { SignalCallContext } from "../call-context.ts";
import { pathOf } from "../connect-host.ts";
import { abortedCall } from "../until-aborted.ts";
import { answerByBackend } from "./answer-by-backend.ts";
import {
  infer,
  listModels,
  modelConfig,
  modelMetadata,
  modelReady,
  serverMetadata,
  statistics,
} from "./answer-models.ts";
import { live, metrics, ready, started } from "./answer-probes.ts";
import { load, repositoryIndex, unload } from "./answer-repository.ts";
import { logSettings, traceSetting } from "./answer-settings.ts";
import {
  cudaMemoryStatus,
  registerSharedMemory,
  sharedMemoryStatus,
  unregisterSharedMemory,
} from "./answer-shared-memory.ts";
import { explainV1, predictV1 } from "./answer-v1.ts";
import { compressResponse } from "./compress-response.ts";
import { generate, generateStream } from "./generate/answer-generate.ts";
import { chatCompletions } from "./openai/answer-chat.ts";
import { completions } from "./openai/answer-completions.ts";
import { listModelsOpenai, modelOpenai } from "./openai/answer-models.ts";
import type { Answer, RestOptions } from "./rest-call.ts";
import { errorResponse } from "./rest-error.ts";
import { matchRoute } from "./route.ts";

/** Answers REST requests, or `undefined` for a path that is no REST route. */
export type RestHandler = (
  request: UniversalServerRequest,
) => Promise<UniversalServerResponse | undefined>;

/** Answers by route and method. `M` is a model's name, `V` a version, `R` a region. */
export const restRoutes: ReadonlyMap<string, { readonly GET?: Answer; readonly POST?: Answer }> =
  new Map(
    Object.entries({
      "/health/live": { GET: live },
      "/health/ready": {
        GET: ready,
      },
      "/health/startup": {
        GET: started,
      },
      "/metrics": { GET: metrics },
      "/v1/models": { GET: listModels },
      "/v1/models/M": { GET: modelReady },
      "/v1/models/M:predict": { POST: predictV1 },
      "/v1/models/M:explain": { POST: explainV1 },
      "/v2": { GET: serverMetadata },
      "/v2/health/live": { GET: live },
      "/v2/health/ready": {
        GET: ready,
      },
      "/v2/models": { GET: listModels },
      "/v2/models/stats": { GET: statistics },
      "/v2/models/M": { GET: modelMetadata },
      "/v2/models/M/ready": { GET: modelReady },
      "/v2/models/M/config": { GET: modelConfig },
      "/v2/models/M/stats": { GET: statistics },
      "/v2/models/M/infer": { POST: infer },
      "/v2/models/M/generate": { POST: generate },
      "/v2/models/M/generate_stream": { POST: generateStream },
      "/v2/models/M/versions/V": { GET: modelMetadata },
      "/v2/models/M/versions/V/ready": { GET: modelReady },
      "/v2/models/M/versions/V/config": { GET: modelConfig },
      "/v2/models/M/versions/V/stats": { GET: statistics },
      "/v2/models/M/versions/V/infer": { POST: infer },
      "/v2/models/M/versions/V/generate": { POST: generate },
      "/v2/models/M/versions/V/generate_stream": { POST: generateStream },
      "/openai/v1/models": { GET: listModelsOpenai },
      "/openai/v1/models/M": { GET: modelOpenai },
      "/openai/v1/completions": { POST: completions },
      "/openai/v1/chat/completions": { POST: chatCompletions },
      "/v2/repository/index": { POST: repositoryIndex },
      "/v2/repository/models/M/load": { POST: load },
      "/v2/repository/models/M/unload": { POST: unload },
      "/v2/systemsharedmemory/status": {
        GET: sharedMemoryStatus,
      },
      "/v2/systemsharedmemory/unregister": {
        POST: unregisterSharedMemory,
      },
      "/v2/systemsharedmemory/region/R/status": {
        GET: sharedMemoryStatus,
      },
      "/v2/systemsharedmemory/region/R/register": {
        POST: registerSharedMemory,
      },
      "/v2/systemsharedmemory/region/R/unregister": {
        POST: unregisterSharedMemory,
      },
      "/v2/cudasharedmemory/status": {
        GET: cudaMemoryStatus,
      },
      "/v2/cudasharedmemory/unregister": {
        POST: answerByBackend(
          "cudaSharedMemoryUnregister",
          CudaSharedMemoryUnregisterRequestSchema,
        ),
      },
      "/v2/cudasharedmemory/region/R/status": {
        GET: cudaMemoryStatus,
      },
      "/v2/cudasharedmemory/region/R/register": {
        POST: answerByBackend("cudaSharedMemoryRegister", CudaSharedMemoryRegisterRequestSchema),
      },
      "/v2/cudasharedmemory/region/R/unregister": {
        POST: answerByBackend(
          "cudaSharedMemoryUnregister",
          CudaSharedMemoryUnregisterRequestSchema,
        ),
      },
      "/v2/trace/setting": {
        GET: traceSetting,
        POST: traceSetting,
      },
      "/v2/models/M/trace/setting": {
        GET: traceSetting,
        POST: traceSetting,
      },
      "/v2/logging": {
        GET: logSettings,
        POST: logSettings,
      },
    }),
  );

/**
 * Serves REST (Open Inference Protocol v2, KServe v1, probes, metrics) as a transcoding of
 * GRPCInferenceService: the same backend answers, with the same errors.
 */
export function createRestHandler(options: RestOptions): RestHandler {
  return async (request) => {
    const path = pathOf(request.url);
    const match = matchRoute(path);
    const methods = match && restRoutes.get(match.route);
    if (!match || !methods) return undefined;
    const method = request.method === "HEAD" ? "GET" : request.method;
    const answer = method === "GET" ? methods.GET : method === "POST" ? methods.POST : undefined;
    if (!answer) {
      const allow = [
        ...(methods.GET ? ["GET", "HEAD"] : []),
        ...(methods.POST ? ["POST"] : []),
      ].join(", ");
      const error = new TensorwireError(
        "METHOD_NOT_ALLOWED",
        `${match.route} takes ${allow}, got ${request.method}`,
        { allow },
      );
      return errorResponse(error, path, { allow });
    }
    const context = new SignalCallContext(
      request.signal,
      request.contextValues?.get(peerKey) ?? peerKey.defaultValue,
      request.header,
      request.contextValues?.get(principalKey),
    );
    let response: UniversalServerResponse;
    try {
      response = await answer({ match, context, request, options });
    } catch (thrown) {
      const error = toError(thrown, request.signal);
      if (error.reason === "INTERNAL") options.onInternalError(error, match.route);
      response = errorResponse(error, path);
    }
    return compressResponse(request, response);
  };
}

function toError(thrown: unknown, signal: AbortSignal): TensorwireError {
  // The caller is gone, or the backend threw on what the signal says: no failure of ours.
  const gone = thrown instanceof PeerGoneError || signal.aborted;
  return gone && !(thrown instanceof TensorwireError) ? abortedCall(signal) : fromUnknown(thrown);
}
