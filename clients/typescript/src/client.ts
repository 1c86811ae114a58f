import {
  type Client,
  type CallOptions as ConnectCallOptions,
  createClient,
  type Transport,
} from "@connectrpc/connect";
import {
  GRPCInferenceService,
  type ModelMetadataResponse_TensorMetadata,
  type ModelStatistics,
} from "../../../gen/inference/grpc_service_pb.ts";
import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import type { CallOptions, ClientOptions, InferOptions } from "./client-options.ts";
import { type InferInputs, inferRequest } from "./infer-request.ts";
import { type InferResult, inferResult } from "./infer-result.ts";
import { inferStream, type StreamAnswer, type StreamRequest } from "./infer-stream.ts";
import { inferenceError } from "./inference-error.ts";
import { retryPolicy } from "./retry-policy.ts";
import { type CallSettings, runCall } from "./run-call.ts";

/** A tensor that a model takes or gives. */
export interface TensorMetadata {
  readonly name: string;
  readonly datatype: string;
  /** -1 is any size. */
  readonly shape: readonly number[];
}

/** What a model takes and gives. */
export interface ModelMetadata {
  readonly name: string;
  readonly versions: readonly string[];
  readonly platform: string;
  readonly inputs: readonly TensorMetadata[];
  readonly outputs: readonly TensorMetadata[];
}

/** What a server is. */
export interface ServerMetadata {
  readonly name: string;
  readonly version: string;
  /** Extensions of the protocol that it speaks. */
  readonly extensions: readonly string[];
}

/** A model version of the server's repository. */
export interface ModelIndexEntry {
  readonly name: string;
  readonly version: string;
  /** `READY`, `UNAVAILABLE`, `LOADING`, `UNLOADING`; "" from servers that do not say. */
  readonly state: string;
  /** Why it is not ready. */
  readonly reason: string;
}

/** Options of calls about one model. */
export interface ModelOptions extends CallOptions {
  /** The server's newest version (by its version policy) without it. */
  readonly modelVersion?: string;
}

/** Options of `repositoryIndex`. */
export interface RepositoryIndexOptions extends CallOptions {
  /** Only models that are ready. */
  readonly ready?: boolean;
}

/** Options of `modelStatistics`. */
export interface StatisticsOptions extends ModelOptions {
  /** All models without it. */
  readonly model?: string;
}

/**
 * Client of a server that speaks the Open Inference Protocol (KServe v2). Every call throws
 * {@link InferenceError}. One client holds one connection, which any number of calls share.
 */
export interface TensorwireClient {
  /**
   * Runs a model.
   *
   * ```ts
   * const { outputs } = await client.infer("iris", { input: tensor([1, 4], [5.1, 3.5, 1.4, 0.2]) });
   * ```
   */
  infer(model: string, inputs: InferInputs, options?: InferOptions): Promise<InferResult>;
  /**
   * Sends inferences over one stream and gives an answer to each. An inference that fails gives an
   * answer with `error`; the stream goes on. It throws when the stream itself ends in an error.
   * Leaving the loop cancels the stream. Node only: browsers cannot stream requests.
   *
   * ```ts
   * for await (const { result, error } of client.inferStream(requests)) {
   *   if (error) throw error;
   *   console.log(result.outputs);
   * }
   * ```
   */
  inferStream(
    requests: AsyncIterable<StreamRequest> | Iterable<StreamRequest>,
    options?: CallOptions,
  ): AsyncIterable<StreamAnswer>;
  /** Whether the server is up. */
  serverLive(options?: CallOptions): Promise<boolean>;
  /** Whether the server takes inferences. */
  serverReady(options?: CallOptions): Promise<boolean>;
  /** Whether the model takes inferences. */
  modelReady(model: string, options?: ModelOptions): Promise<boolean>;
  serverMetadata(options?: CallOptions): Promise<ServerMetadata>;
  modelMetadata(model: string, options?: ModelOptions): Promise<ModelMetadata>;
  /** Configuration of a model with the server's defaults filled in. */
  modelConfig(model: string, options?: ModelOptions): Promise<ModelConfig | undefined>;
  /** Counts and times of inferences, one entry a model version. */
  modelStatistics(options?: StatisticsOptions): Promise<readonly ModelStatistics[]>;
  /** Models of the server's repository, those that are not loaded included. */
  repositoryIndex(options?: RepositoryIndexOptions): Promise<readonly ModelIndexEntry[]>;
  /** Loads a model of the repository, or loads it again; resolves when it is ready. */
  loadModel(model: string, options?: CallOptions): Promise<void>;
  /** Unloads a model. */
  unloadModel(model: string, options?: CallOptions): Promise<void>;
  /** The generated Connect client: messages as they are, without retries, throws ConnectError. */
  readonly rpc: Client<typeof GRPCInferenceService>;
  /** Cancels the calls in flight and closes the connection; a later call opens a new one. */
  close(): void;
}

/** A connection to a server, as a platform makes it. */
export interface Connection {
  readonly transport: Transport;
  /** Address of the server, for messages. */
  readonly target: string;
  /** Whether a call can send several messages. */
  readonly streams: "both-ways" | "answers-only";
  close(): void;
}

/**
 * Makes a client of a connection.
 *
 * @throws InferenceError `PARAMETER_INVALID` for an impossible option
 */
export function createClientOver(
  { transport, target, streams, close }: Connection,
  options: ClientOptions,
): TensorwireClient {
  const settings = callSettings(target, options);
  const rpc = createClient(GRPCInferenceService, transport);

  /** Asks without a lasting effect. */
  function ask<T>(
    options: CallOptions | undefined,
    attempt: (connectOptions: ConnectCallOptions) => Promise<T>,
  ): Promise<T> {
    return runCall(settings, "idempotent", options, attempt);
  }

  return {
    async infer(model, inputs, options) {
      const request = converting(() => inferRequest(model, inputs, options));
      const response = await runCall(settings, "once", options, (connectOptions) =>
        rpc.modelInfer(request, connectOptions),
      );
      return inferResult(response);
    },
    inferStream(requests, options) {
      return inferStream(rpc, settings, streams, requests, options);
    },
    async serverLive(options) {
      return (await ask(options, (o) => rpc.serverLive({}, o))).live;
    },
    async serverReady(options) {
      return (await ask(options, (o) => rpc.serverReady({}, o))).ready;
    },
    async modelReady(name, options) {
      const version = options?.modelVersion;
      return (await ask(options, (o) => rpc.modelReady({ name, version }, o))).ready;
    },
    async serverMetadata(options) {
      const { name, version, extensions } = await ask(options, (o) => rpc.serverMetadata({}, o));
      return { name, version, extensions };
    },
    async modelMetadata(name, options) {
      const version = options?.modelVersion;
      const answer = await ask(options, (o) => rpc.modelMetadata({ name, version }, o));
      return {
        name: answer.name,
        versions: answer.versions,
        platform: answer.platform,
        inputs: answer.inputs.map(tensorMetadata),
        outputs: answer.outputs.map(tensorMetadata),
      };
    },
    async modelConfig(name, options) {
      const version = options?.modelVersion;
      return (await ask(options, (o) => rpc.modelConfig({ name, version }, o))).config;
    },
    async modelStatistics(options) {
      const request = { name: options?.model, version: options?.modelVersion };
      return (await ask(options, (o) => rpc.modelStatistics(request, o))).modelStats;
    },
    async repositoryIndex(options) {
      const request = { ready: options?.ready };
      const { models } = await ask(options, (o) => rpc.repositoryIndex(request, o));
      return models.map(({ name, version, state, reason }) => ({ name, version, state, reason }));
    },
    async loadModel(modelName, options) {
      await runCall(settings, "once", options, (o) => rpc.repositoryModelLoad({ modelName }, o));
    },
    async unloadModel(modelName, options) {
      await runCall(settings, "once", options, (o) => rpc.repositoryModelUnload({ modelName }, o));
    },
    rpc,
    close,
  };
}

function callSettings(target: string, { timeoutMs, retry }: ClientOptions): CallSettings {
  return { target, timeoutMs, retry: converting(() => retryPolicy(retry)) };
}

function tensorMetadata(tensor: ModelMetadataResponse_TensorMetadata): TensorMetadata {
  const { name, datatype, shape } = tensor;
  return { name, datatype, shape: shape.map(Number) };
}

function converting<T>(make: () => T): T {
  try {
    return make();
  } catch (thrown) {
    throw inferenceError(thrown);
  }
}
