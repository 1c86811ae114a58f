/**
 * Client for Node: gRPC over HTTP/2, or gRPC-Web or Connect.
 *
 * @module
 */
import { createClientOver, type TensorwireClient } from "./client.ts";
import { inferenceError } from "./inference-error.ts";
import { createNodeConnection, type NodeClientOptions } from "./node-connection.ts";

export type { Datatype, FixedSizeDatatype } from "../../../server/tensor/datatype.ts";
export type {
  ModelIndexEntry,
  ModelMetadata,
  ModelOptions,
  RepositoryIndexOptions,
  ServerMetadata,
  StatisticsOptions,
  TensorMetadata,
  TensorwireClient,
} from "./client.ts";
export type {
  CallOptions,
  ClientOptions,
  HeadersInput,
  InferOptions,
  InferRequestOptions,
  Provided,
  RequestedOutput,
  RetryOptions,
} from "./client-options.ts";
export { type GenerateTextOptions, generateText, type TextPiece } from "./generate-text.ts";
export type { ParameterInput, ParameterValue } from "./infer-parameter.ts";
export type { InferInputs, InputTensor } from "./infer-request.ts";
export type { InferResult } from "./infer-result.ts";
export type { StreamAnswer, StreamRequest } from "./infer-stream.ts";
export { InferenceError, type InferenceErrorFields } from "./inference-error.ts";
export type { Nested } from "./nested.ts";
export type { NodeClientOptions, TlsOptions } from "./node-connection.ts";
export type { StatusName } from "./status.ts";
export { tensor } from "./tensor.ts";
export type { TensorData } from "./tensor-data.ts";
export type {
  BytesTensor,
  ElementOf,
  NumericTensor,
  TensorOf,
  TypedTensor,
} from "./typed-tensor.ts";

/**
 * Makes a client. It connects with the first call, and again when the connection was lost; an idle
 * connection does not keep the process alive.
 *
 * @param baseUrl - `http://host:port`, `https://host:port`, `host:port` (without TLS) or
 * `unix:/path/of.sock`
 * @throws InferenceError `PARAMETER_INVALID` for an impossible address or option
 */
export function createClient(baseUrl: string, options: NodeClientOptions = {}): TensorwireClient {
  try {
    return createClientOver(createNodeConnection(baseUrl, options), options);
  } catch (thrown) {
    throw inferenceError(thrown);
  }
}
