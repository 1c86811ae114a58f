import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import type { Log } from "../../observability/log.ts";
import type { InferenceBackend } from "../../rpc/inference-backend.ts";
import type { EngineModel } from "../engines/engine.ts";
import type { Executor } from "../executor.ts";
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
  /** Sessions, each in a thread of its own. */
  readonly instances: number;
}

/** What loading a version needs from its surroundings. */
export interface LoadContext {
  readonly openOnnx: (request: OnnxRequest) => Promise<EngineModel>;
  /** A loaded version of another model; the newest if `version` is empty. Throws if there is none. */
  readonly resolve: (model: string, version: string) => ServedModel;
  /** Answers the calls that models make of the server. */
  readonly backend: () => InferenceBackend;
  readonly maxQueueSize: number;
  /** Size of a request message at most, in bytes. */
  readonly maxMessageBytes: number;
  readonly observer: CallObserver;
  readonly log: Log;
}

/** What loading finds out of a version. */
export interface LoadedParts {
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
  readonly executor: Executor;
  readonly readsOptions: boolean;
}

/**
 * Loads one version: opens it, holds the configuration against it, and warms it up.
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED`, `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`
 */
export async function loadVersion(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
  context: LoadContext,
): Promise<ServedModel> {
  const { maxQueueSize, observer } = context;
  const parts = await loadParts(folder, version, config, context);
  return new ServedModel({ name: folder.name, version, ...parts, maxQueueSize, observer });
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
