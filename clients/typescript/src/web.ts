/**
 * Client for browsers, and for other platforms with fetch: gRPC-Web or Connect.
 *
 * @module
 */
import { createClientOver, type TensorwireClient } from "./client.ts";
import { inferenceError } from "./inference-error.ts";
import { createWebConnection, type WebClientOptions } from "./web-connection.ts";

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
export type { ParameterInput, ParameterValue } from "./infer-parameter.ts";
export type { InferInputs, InputTensor } from "./infer-request.ts";
export type { InferResult } from "./infer-result.ts";
export type { StreamAnswer, StreamRequest } from "./infer-stream.ts";
export { InferenceError, type InferenceErrorFields } from "./inference-error.ts";
export type { Nested } from "./nested.ts";
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
export type { WebClientOptions } from "./web-connection.ts";

/**
 * Makes a client over fetch.
 *
 * @param baseUrl - `https://host`, also with a path; `""` or `/path` is on the page's own origin
 * @throws InferenceError `PARAMETER_INVALID` for an impossible address or option
 */
export function createClient(baseUrl: string, options: WebClientOptions = {}): TensorwireClient {
  try {
    return createClientOver(createWebConnection(baseUrl, options), options);
  } catch (thrown) {
    throw inferenceError(thrown);
  }
}
