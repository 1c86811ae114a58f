import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import type { Log } from "../../observability/log.ts";
import type { TraceControl } from "../../observability/trace-control.ts";
import type { InferenceBackend } from "../../rpc/inference-backend.ts";
import type { Repeats } from "../cache/repeats.ts";
import { type CacheUse, withCache } from "../cache/with-cache.ts";
import type { EngineModel } from "../engines/engine.ts";
import type { Executor } from "../executor.ts";
import { ModelStatistics } from "../model-statistics.ts";
import type { FreeBatching } from "../scheduling/batch-policy.ts";
import { type CallObserver, ServedModel } from "../served-model.ts";
import type { ModelSignature } from "../signature.ts";
import { customModule, loadCustom } from "./load-custom.ts";
import { isEnsemble, loadEnsemble } from "./load-ensemble.ts";
import { loadOnnx } from "./load-onnx.ts";
import type { ModelFolder } from "./scan.ts";

/** What opening an ONNX file needs to know. */
export interface OnnxRequest {
  readonly model: string;
  readonly path: string;
  /** Says how it is run; `undefined` if there is none. */
  readonly config: ModelConfig | undefined;
}

/** What loading a version needs from its surroundings. */
export interface LoadContext {
  readonly openOnnx: (request: OnnxRequest) => Promise<EngineModel>;
  /** A loaded version of another model; the newest if `version` is empty. Throws if there is none. */
  readonly resolve: (model: string, version: string) => ServedModel;
  /** Answers the calls that models make of the server. */
  readonly backend: () => InferenceBackend;
  /** The cache of answers; `undefined` where nothing is cached. */
  readonly responses?: CacheUse | undefined;
  /** How calls are gathered, of a model whose configuration is MLServer's. */
  readonly batching?: FreeBatching | undefined;
  readonly maxQueueSize: number;
  /** Size of a request message at most, in bytes. */
  readonly maxMessageBytes: number;
  readonly observer: CallObserver;
  readonly traces: Pick<TraceControl, "of">;
  readonly log: Log;
}

/** What loading finds out of a version. */
export interface LoadedParts {
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
  readonly executor: Executor;
  readonly repeats: Repeats;
  readonly readsOptions: boolean;
}

/**
 * Loads one version: opens it, holds the configuration against it, and warms it up.
 *
 * @param statistics - of the same version when it was in memory before; they go on
 * @throws TensorwireError `MODEL_LOAD_FAILED`, `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`
 */
export async function loadVersion(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
  context: LoadContext,
  statistics: ModelStatistics = new ModelStatistics(),
): Promise<ServedModel> {
  const { maxQueueSize, observer } = context;
  const { name } = folder;
  const traces = context.traces.of(name);
  const parts = await loadParts(folder, version, config, context);
  const repeats = repeatsOf(parts);
  try {
    const executor = withCache({ name, ...parts, repeats, statistics }, context);
    const model = { ...parts, name, version, executor, repeats, maxQueueSize, observer, traces };
    return new ServedModel({ ...model, statistics });
  } catch (error) {
    await parts.executor.release();
    throw error;
  }
}

/** What the way of scheduling says of it counts more than what the loader knows. */
function repeatsOf({ config, executor, repeats }: LoadedParts): Repeats {
  const remembers = config.schedulingChoice.case === "sequenceBatching";
  return remembers || executor.stream ? "no" : repeats;
}

async function loadParts(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
  context: LoadContext,
): Promise<LoadedParts> {
  if (isEnsemble(config)) return loadEnsemble(folder, config, context);
  const path = await customModule(folder, version, config);
  return path === undefined
    ? loadOnnx(folder, version, config, context)
    : loadCustom(folder, version, path, config, context);
}
