import { modelUnsupported } from "../errors/model-errors.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { Log } from "../observability/log.ts";
import type { EngineModel } from "./engines/engine.ts";
import { type RuntimeBuild, whyUnavailable } from "./engines/onnx/execution-providers.ts";
import type { GraphCacheOptions, GraphCacheReport } from "./engines/onnx/graph-cache.ts";
import { type Execution, OnnxModel } from "./engines/onnx/onnx-model.ts";
import { runtimeBuild } from "./engines/onnx/runtime-build.ts";
import type { WorkerPool } from "./engines/onnx/worker-pool.ts";
import { type RuntimeDefaults, readRuntime } from "./model-config/read-runtime.ts";
import type { OnnxRequest } from "./repository/load-version.ts";

/** What holds for all ONNX models of a server. */
export interface OnnxOptions {
  readonly defaults: RuntimeDefaults;
  readonly execution: Execution;
  /** Threads for one operator; 0 for the cores divided by the instances of the model. */
  readonly intraOpThreads: number;
  /** Processor cores that models may use. */
  readonly cores: number;
  readonly graphCache: GraphCacheOptions | undefined;
  readonly onGraphCache: (report: GraphCacheReport) => void;
}

/** Opens ONNX models in a pool of workers, as their configurations say. */
export function createOnnxOpener(
  pool: WorkerPool,
  options: OnnxOptions,
  log: Log,
): (request: OnnxRequest) => Promise<EngineModel> {
  const { defaults, execution, cores, graphCache, onGraphCache } = options;
  return async ({ model, path, config }) => {
    const runtime = readRuntime(model, config, defaults);
    for (const { providers } of runtime.instances) {
      for (const provider of providers) {
        const why = whyUnavailable(provider, runtimeBuild());
        if (why !== undefined) throw modelUnsupported(model, why);
      }
    }
    const { instances } = runtime;
    const share = Math.max(1, Math.floor(cores / instances.length));
    const intraOpThreads = runtime.intraOpThreads ?? (options.intraOpThreads || share);
    const session = { model, path, intraOpThreads, graphCache };
    return OnnxModel.load(pool, { session, instances, execution, cores, onGraphCache }, log);
  };
}

/**
 * Checks the providers that a server is started with.
 *
 * @throws TensorwireError `SETTING_INVALID`
 */
export function checkProviders(
  { providers }: RuntimeDefaults,
  build: () => RuntimeBuild = runtimeBuild,
): void {
  for (const provider of providers) {
    const why = whyUnavailable(provider, build());
    if (why !== undefined) throw new TensorwireError("SETTING_INVALID", why, {});
  }
}
