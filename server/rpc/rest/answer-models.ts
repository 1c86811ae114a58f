import { create } from "@bufbuild/protobuf";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import {
  ModelConfigRequestSchema,
  ModelMetadataRequestSchema,
  type ModelMetadataResponse,
  ModelMetadataResponseSchema,
  ModelReadyRequestSchema,
  ModelStatisticsRequestSchema,
  ModelStatisticsResponseSchema,
  RepositoryIndexRequestSchema,
  ServerMetadataRequestSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { inferResponseMessage } from "../infer-messages.ts";
import { decodeInfer, encodeInfer, jsonLengthHeader } from "./infer-codec.ts";
import { jsonResponse } from "./json-response.ts";
import { messageJson } from "./message-json.ts";
import { readBody } from "./read-body.ts";
import type { RestCall } from "./rest-call.ts";

/** Inference in JSON or with binary tensors. */
export async function infer({
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
  return encodeInfer(inferResponseMessage(response), decoded.isBinaryOutput);
}

/** Names of the models that take requests; the same in v1 and v2. */
export async function listModels({ context, options }: RestCall): Promise<UniversalServerResponse> {
  const request = create(RepositoryIndexRequestSchema, { ready: true });
  const { models } = await options.backend.repositoryIndex(request, context);
  const names = new Set((models ?? []).map(({ name }) => name ?? ""));
  return jsonResponse(200, JSON.stringify({ models: [...names] }));
}

/** 200 if a model takes requests; the same in v1 and v2. */
export async function modelReady({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const { model: name, version } = match;
  const { ready } = await options.backend.modelReady(
    create(ModelReadyRequestSchema, { name, version }),
    context,
  );
  return jsonResponse(ready ? 200 : 503, JSON.stringify({ name, ready: ready === true }));
}

/** Name, version and extensions of the server. */
export async function serverMetadata({
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const { name, version, extensions } = await options.backend.serverMetadata(
    create(ServerMetadataRequestSchema),
    context,
  );
  return jsonResponse(200, JSON.stringify({ name, version, extensions }));
}

/** Versions, inputs and outputs of a model. */
export async function modelMetadata(call: RestCall): Promise<UniversalServerResponse> {
  const { name, versions, platform, inputs, outputs } = await metadataOf(call);
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

/** Configuration of a model, completed. */
export async function modelConfig({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const { model: name, version } = match;
  const { config } = await options.backend.modelConfig(
    create(ModelConfigRequestSchema, { name, version }),
    context,
  );
  return jsonResponse(200, messageJson(ModelConfigSchema, create(ModelConfigSchema, config)));
}

/** Counts and times of a model, or of all. */
export async function statistics({
  match,
  context,
  options,
}: RestCall): Promise<UniversalServerResponse> {
  const { model: name, version } = match;
  const response = await options.backend.modelStatistics(
    create(ModelStatisticsRequestSchema, { name, version }),
    context,
  );
  const message = create(ModelStatisticsResponseSchema, response);
  return jsonResponse(200, messageJson(ModelStatisticsResponseSchema, message));
}

/** The metadata of the model that a call names. */
export async function metadataOf({
  match,
  context,
  options,
}: RestCall): Promise<ModelMetadataResponse> {
  const { model, version } = match;
  const metadata = await options.backend.modelMetadata(
    create(ModelMetadataRequestSchema, { name: model, version }),
    context,
  );
  return create(ModelMetadataResponseSchema, metadata);
}
