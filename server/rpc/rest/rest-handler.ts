import { create, type DescMessage, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  CudaSharedMemoryRegisterRequestSchema,
  CudaSharedMemoryStatusRequestSchema,
  CudaSharedMemoryUnregisterRequestSchema,
  LogSettingsRequestSchema,
  ModelConfigRequestSchema,
  ModelInferResponseSchema,
  ModelMetadataRequestSchema,
  type ModelMetadataResponse,
  ModelMetadataResponseSchema,
  ModelReadyRequestSchema,
  ModelStatisticsRequestSchema,
  ModelStatisticsResponseSchema,
  RepositoryIndexRequestSchema,
  RepositoryModelLoadRequestSchema,
  RepositoryModelUnloadRequestSchema,
  ServerMetadataRequestSchema,
  SystemSharedMemoryRegisterRequestSchema,
  SystemSharedMemoryStatusRequestSchema,
  SystemSharedMemoryUnregisterRequestSchema,
  TraceSettingRequestSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../../errors/from-unknown.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { peerKey } from "../../wire/peer.ts";
import type { CallContext } from "../call-context.ts";
import { pathOf } from "../connect-host.ts";
import type { InferenceBackend } from "../inference-backend.ts";
import { decodeInfer, encodeInfer, jsonLengthHeader } from "./infer-codec.ts";
import { asObject, type JsonObject, member, parseJsonObject } from "./json-object.ts";
import { chunks, jsonResponse } from "./json-response.ts";
import { decodePredict, encodePredict } from "./predict-v1.ts";
import { readBody } from "./read-body.ts";
import { errorResponse } from "./rest-error.ts";
import { matchRoute, type RouteMatch } from "./route.ts";

/** What REST answers from. */
export interface RestOptions {
  readonly backend: InferenceBackend;
  /** State of the program for the probes. */
  readonly probes: { readonly isStarted: () => boolean; readonly isReady: () => boolean };
  /** Metrics in Prometheus' text format. */
  readonly metrics: () => Promise<{ readonly contentType: string; readonly text: string }>;
  readonly maxBodyBytes: number;
  /** Told of failures that are ours. */
  readonly onInternalError: (error: TensorwireError, route: string) => void;
}

/** Answers REST requests, or `undefined` for a path that is no REST route. */
export type RestHandler = (
  request: UniversalServerRequest,
) => Promise<UniversalServerResponse | undefined>;

interface RestCall {
  readonly match: RouteMatch;
  readonly context: CallContext;
  readonly request: UniversalServerRequest;
  readonly options: RestOptions;
}

type Answer = (call: RestCall) => Promise<UniversalServerResponse>;

/** Answers by route and method. `M` is a model's name, `V` a version, `R` a region. */
const routes: ReadonlyMap<string, { readonly GET?: Answer; readonly POST?: Answer }> = new Map(
  Object.entries({
    "/health/live": { GET: async () => probe(true, "live") },
    "/health/ready": {
      GET: async ({ options }: RestCall) => probe(options.probes.isReady(), "ready"),
    },
    "/health/startup": {
      GET: async ({ options }: RestCall) => probe(options.probes.isStarted(), "started"),
    },
    "/metrics": { GET: metrics },
    "/v1/models": { GET: listV1 },
    "/v1/models/M": { GET: readyV1 },
    "/v1/models/M:predict": { POST: predictV1 },
    "/v1/models/M:explain": { POST: explainV1 },
    "/v2": { GET: serverMetadata },
    "/v2/health/live": { GET: async () => probe(true, "live") },
    "/v2/health/ready": {
      GET: async ({ options }: RestCall) => probe(options.probes.isReady(), "ready"),
    },
    "/v2/models": { GET: listV2 },
    "/v2/models/stats": { GET: statistics },
    "/v2/models/M": { GET: modelMetadata },
    "/v2/models/M/ready": { GET: modelReady },
    "/v2/models/M/config": { GET: modelConfig },
    "/v2/models/M/stats": { GET: statistics },
    "/v2/models/M/infer": { POST: infer },
    "/v2/models/M/versions/V": { GET: modelMetadata },
    "/v2/models/M/versions/V/ready": { GET: modelReady },
    "/v2/models/M/versions/V/config": { GET: modelConfig },
    "/v2/models/M/versions/V/stats": { GET: statistics },
    "/v2/models/M/versions/V/infer": { POST: infer },
    "/v2/repository/index": { POST: repositoryIndex },
    "/v2/repository/models/M/load": { POST: load },
    "/v2/repository/models/M/unload": { POST: unload },
    "/v2/systemsharedmemory/status": {
      GET: pass("systemSharedMemoryStatus", SystemSharedMemoryStatusRequestSchema),
    },
    "/v2/systemsharedmemory/unregister": {
      POST: pass("systemSharedMemoryUnregister", SystemSharedMemoryUnregisterRequestSchema),
    },
    "/v2/systemsharedmemory/region/R/status": {
      GET: pass("systemSharedMemoryStatus", SystemSharedMemoryStatusRequestSchema),
    },
    "/v2/systemsharedmemory/region/R/register": {
      POST: pass("systemSharedMemoryRegister", SystemSharedMemoryRegisterRequestSchema),
    },
    "/v2/systemsharedmemory/region/R/unregister": {
      POST: pass("systemSharedMemoryUnregister", SystemSharedMemoryUnregisterRequestSchema),
    },
    "/v2/cudasharedmemory/status": {
      GET: pass("cudaSharedMemoryStatus", CudaSharedMemoryStatusRequestSchema),
    },
    "/v2/cudasharedmemory/unregister": {
      POST: pass("cudaSharedMemoryUnregister", CudaSharedMemoryUnregisterRequestSchema),
    },
    "/v2/cudasharedmemory/region/R/status": {
      GET: pass("cudaSharedMemoryStatus", CudaSharedMemoryStatusRequestSchema),
    },
    "/v2/cudasharedmemory/region/R/register": {
      POST: pass("cudaSharedMemoryRegister", CudaSharedMemoryRegisterRequestSchema),
    },
    "/v2/cudasharedmemory/region/R/unregister": {
      POST: pass("cudaSharedMemoryUnregister", CudaSharedMemoryUnregisterRequestSchema),
    },
    "/v2/trace/setting": {
      GET: pass("traceSetting", TraceSettingRequestSchema),
      POST: pass("traceSetting", TraceSettingRequestSchema),
    },
    "/v2/models/M/trace/setting": {
      GET: pass("traceSetting", TraceSettingRequestSchema),
      POST: pass("traceSetting", TraceSettingRequestSchema),
    },
    "/v2/logging": {
      GET: pass("logSettings", LogSettingsRequestSchema),
      POST: pass("logSettings", LogSettingsRequestSchema),
    },
  }),
);

/**
 * Serves REST (Open Inference Protocol v2, KServe v1, probes, metrics) as a transcoding of
 * GRPCInferenceService: the same backend answers, with the same errors.
 */
export function createRestHandler(options: RestOptions): RestHandler {
  return async (request) => {
    const match = matchRoute(pathOf(request.url));
    const methods = match && routes.get(match.route);
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
      return errorResponse(error, { allow });
    }
    const context: CallContext = {
      signal: request.signal,
      peer: request.contextValues?.get(peerKey) ?? peerKey.defaultValue,
      requestHeader: request.header,
    };
    try {
      return await answer({ match, context, request, options });
    } catch (thrown) {
      const error = fromUnknown(thrown);
      if (error.reason === "INTERNAL") options.onInternalError(error, match.route);
      return errorResponse(error);
    }
  };
}

async function probe(ok: boolean, name: string): Promise<UniversalServerResponse> {
  return jsonResponse(ok ? 200 : 503, JSON.stringify({ [name]: ok }));
}

async function metrics({ options }: RestCall): Promise<UniversalServerResponse> {
  const { contentType, text } = await options.metrics();
  const body = new TextEncoder().encode(text);
  return {
    status: 200,
    header: new Headers({ "content-type": contentType, "content-length": String(body.byteLength) }),
    body: chunks(body),
  };
}

async function infer({
  match,
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const body = await readBody(request, options.maxBodyBytes);
  const decoded = decodeInfer(
    match.model,
    match.version,
    body,
    request.header.get(jsonLengthHeader),
  );
  const response = await options.backend.modelInfer(decoded.request, context);
  return encodeInfer(create(ModelInferResponseSchema, response), decoded.isBinaryOutput);
}

async function predictV1({
  match,
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const { inputs } = await metadataOf(match, context, options);
  const decoded = decodePredict(match.model, body, inputs);
  const response = await options.backend.modelInfer(decoded.request, context);
  return jsonResponse(200, encodePredict(create(ModelInferResponseSchema, response), decoded.form));
}

async function explainV1({ match }: RestCall): Promise<UniversalServerResponse> {
  throw new TensorwireError(
    "RPC_UNSUPPORTED",
    `:explain is not served: model "${match.model}" has no explainer`,
    {
      model: match.model,
    },
  );
}

async function listV1({ context, options }: RestCall): Promise<UniversalServerResponse> {
  return jsonResponse(200, JSON.stringify({ models: await readyModels(context, options) }));
}

async function listV2({ context, options }: RestCall): Promise<UniversalServerResponse> {
  return jsonResponse(200, JSON.stringify({ models: await readyModels(context, options) }));
}

async function readyModels(context: CallContext, { backend }: RestOptions): Promise<string[]> {
  const { models } = await backend.repositoryIndex(
    create(RepositoryIndexRequestSchema, { ready: true }),
    context,
  );
  return [...new Set((models ?? []).map(({ name }) => name ?? ""))];
}

async function readyV1({ match, context, options }: RestCall): Promise<UniversalServerResponse> {
  const { ready } = await options.backend.modelReady(
    create(ModelReadyRequestSchema, { name: match.model }),
    context,
  );
  return jsonResponse(
    ready ? 200 : 503,
    JSON.stringify({ name: match.model, ready: ready === true }),
  );
}

async function modelReady({ match, context, options }: RestCall): Promise<UniversalServerResponse> {
  const { model: name, version } = match;
  const { ready } = await options.backend.modelReady(
    create(ModelReadyRequestSchema, { name, version }),
    context,
  );
  return jsonResponse(ready ? 200 : 503, JSON.stringify({ name, ready: ready === true }));
}

async function serverMetadata({ context, options }: RestCall): Promise<UniversalServerResponse> {
  const { name, version, extensions } = await options.backend.serverMetadata(
    create(ServerMetadataRequestSchema),
    context,
  );
  return jsonResponse(200, JSON.stringify({ name, version, extensions }));
}

async function metadataOf(
  { model, version }: RouteMatch,
  context: CallContext,
  { backend }: RestOptions,
): Promise<ModelMetadataResponse> {
  const metadata = await backend.modelMetadata(
    create(ModelMetadataRequestSchema, { name: model, version }),
    context,
  );
  return create(ModelMetadataResponseSchema, metadata);
}

async function modelMetadata({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const { name, versions, platform, inputs, outputs } = await metadataOf(match, context, options);
  const tensors = (list: typeof inputs): object[] =>
    list.map((tensor) => ({
      name: tensor.name,
      datatype: tensor.datatype,
      shape: tensor.shape.map(Number),
    }));
  return jsonResponse(
    200,
    JSON.stringify({
      name,
      versions,
      platform,
      inputs: tensors(inputs),
      outputs: tensors(outputs),
    }),
  );
}

async function modelConfig({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const { model: name, version } = match;
  const { config } = await options.backend.modelConfig(
    create(ModelConfigRequestSchema, { name, version }),
    context,
  );
  const json = toJson(ModelConfigSchema, create(ModelConfigSchema, config), {
    useProtoFieldName: true,
    alwaysEmitImplicit: true,
  });
  return jsonResponse(200, JSON.stringify(json));
}

async function statistics({ match, context, options }: RestCall): Promise<UniversalServerResponse> {
  const { model: name, version } = match;
  const response = await options.backend.modelStatistics(
    create(ModelStatisticsRequestSchema, { name, version }),
    context,
  );
  const json = toJson(
    ModelStatisticsResponseSchema,
    create(ModelStatisticsResponseSchema, response),
    {
      useProtoFieldName: true,
      alwaysEmitImplicit: true,
    },
  );
  return jsonResponse(200, JSON.stringify(json));
}

async function repositoryIndex({
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const body = parseJsonObject(await readBody(request, options.maxBodyBytes));
  const ready = member(body, "ready") === true;
  const { models } = await options.backend.repositoryIndex(
    create(RepositoryIndexRequestSchema, { ready }),
    context,
  );
  return jsonResponse(
    200,
    JSON.stringify(
      (models ?? []).map(({ name, version, state, reason }) => ({ name, version, state, reason })),
    ),
  );
}

async function load({
  match,
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const parameters = repositoryParameters(
    parseJsonObject(await readBody(request, options.maxBodyBytes)),
  );
  const message = create(RepositoryModelLoadRequestSchema, { modelName: match.model, parameters });
  const { modelName, isLoaded } = await options.backend.repositoryModelLoad(message, context);
  return jsonResponse(200, JSON.stringify({ name: modelName, load: isLoaded }));
}

async function unload({
  match,
  context,
  request,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const parameters = repositoryParameters(
    parseJsonObject(await readBody(request, options.maxBodyBytes)),
  );
  const message = create(RepositoryModelUnloadRequestSchema, {
    modelName: match.model,
    parameters,
  });
  const { modelName, isUnloaded } = await options.backend.repositoryModelUnload(message, context);
  return jsonResponse(200, JSON.stringify({ name: modelName, unload: isUnloaded }));
}

type RepositoryParameters = NonNullable<
  MessageInitShape<typeof RepositoryModelLoadRequestSchema>["parameters"]
>;

function repositoryParameters(body: JsonObject): RepositoryParameters {
  const given = asObject(member(body, "parameters") ?? {}, '"parameters" of the body');
  return Object.fromEntries(
    Object.entries(given).map(([name, value]) => [
      name,
      {
        parameterChoice:
          typeof value === "boolean"
            ? { case: "boolParam" as const, value }
            : typeof value === "number" && Number.isSafeInteger(value)
              ? { case: "int64Param" as const, value: BigInt(value) }
              : {
                  case: "stringParam" as const,
                  value: typeof value === "string" ? value : JSON.stringify(value),
                },
      },
    ]),
  );
}

/** Passes a call on with the region's or the model's name; the backend says what it does with it. */
function pass<K extends keyof InferenceBackend>(rpc: K, schema: DescMessage): Answer {
  return async ({ match, context, options }) => {
    const call = options.backend[rpc] as unknown as (
      request: unknown,
      context: CallContext,
    ) => Promise<object>;
    const init = schema.fields.some(({ name }) => name === "model_name")
      ? { modelName: match.model }
      : { name: match.region };
    return jsonResponse(200, JSON.stringify(await call(create(schema, init as never), context)));
  };
}
