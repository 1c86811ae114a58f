import type { Registry } from "prom-client";
import { modelNotFound } from "../errors/model-errors.ts";
import {
  type GenerationMetricsSource,
  registerGenerationMetrics,
} from "../generation/generation-metrics.ts";
import type { SettableLog } from "../observability/logger.ts";
import type { TraceControl } from "../observability/trace-control.ts";
import type { InferenceBackend } from "../rpc/inference-backend.ts";
import { registerCacheMetrics } from "./cache/cache-metrics.ts";
import { ResponseCache } from "./cache/response-cache.ts";
import type { CachedModels } from "./cache/with-cache.ts";
import type { ModelControlMode } from "./control-policy.ts";
import { WorkerPool } from "./engines/onnx/worker-pool.ts";
import { observeGraphCache } from "./graph-cache-metrics.ts";
import { checkProviders, createOnnxOpener, type OnnxOptions } from "./open-onnx.ts";
import { createPredictorBackend } from "./predictor-backend.ts";
import { createInferenceHistograms, registerModelMetrics } from "./predictor-metrics.ts";
import type { IndexRow, ReadinessListener } from "./repository/model-entry.ts";
import { Repository } from "./repository/repository.ts";
import { answersCalls } from "./repository/version-state.ts";
import { registerMemoryMetrics } from "./shared-memory/memory-metrics.ts";
import { type RegionLimits, RegionTable } from "./shared-memory/region-table.ts";
import { afterMs } from "./turn-end.ts";

/** When models come into memory: at start, or with their first call. */
export type ModelLoading = "eager" | "lazy";

/** Settings of a predictor; docs/settings.md has the defaults. */
export interface PredictorOptions {
  /** Repository folders, a folder with one model, or an .onnx file. */
  readonly repositories: readonly string[];
  /** Name of a single model; by default that of its file or folder. */
  readonly modelName?: string | undefined;
  readonly controlMode: ModelControlMode;
  /** Models to load at start in mode `explicit`; `*` is all. */
  readonly loadModels: readonly string[];
  /** `lazy`: models are loaded by their first call; `eager`: at start. */
  readonly modelLoading: ModelLoading;
  /** Models to load at start though the others are lazy. */
  readonly preloadModels: readonly string[];
  /** Models to load at start that never leave to make room. */
  readonly pinModels: readonly string[];
  /** Memory that all models may take, in bytes; 0 for any. */
  readonly modelMemoryBytes: number;
  /** Time that a call may wait for its model to be loaded, and a load for memory, in ms. */
  readonly modelLoadTimeoutMs: number;
  /** Time between two looks at the folders in mode `poll`, in ms. */
  readonly pollIntervalMs: number;
  readonly allowRemoteControl: boolean;
  /** Ready only while every model at start loaded; otherwise once the start is over. */
  readonly strictReadiness: boolean;
  /** Calls that may wait for one model version. */
  readonly maxQueueSize: number;
  /** Memory for cached answers, in bytes, and the models that have theirs cached; none without. */
  readonly responseCache?: { readonly bytes: number; readonly models: CachedModels } | undefined;
  /** Bounds of the shared memory that callers may register; they may not without. */
  readonly sharedMemory?: RegionLimits | undefined;
  /** Size of a request message at most, in bytes. */
  readonly maxMessageBytes: number;
  /** Worker threads for models; 0 for as many as cores. */
  readonly modelThreads: number;
  /** Processor cores that models may use. */
  readonly cores: number;
  /** How ONNX models are run where their configurations do not say. */
  readonly onnx: Omit<OnnxOptions, "cores" | "onGraphCache">;
  readonly serverName: string;
  readonly serverVersion: string;
  readonly registry: Registry;
  /** Whose settings LogSettings changes. */
  readonly log: SettableLog;
  /** Which calls are traced; TraceSetting changes it. */
  readonly traces: TraceControl;
}

/** The model server: a repository, its engines, and the service over them. */
export interface Predictor {
  readonly backend: InferenceBackend;
  /**
   * Loads the models that the control mode asks for. A model that fails does not stop the others; the
   * index says why.
   *
   * @throws TensorwireError `REPOSITORY_UNREADABLE`, `MODEL_NOT_FOUND` for a name of `loadModels`
   */
  start(): Promise<void>;
  /** Whether the start is over and, with strict readiness, all models serve. */
  isReady(): boolean;
  /** Every model and version with its state. */
  index(): readonly IndexRow[];
  /** Adds a listener for models that become ready or stop being so. */
  onReadiness(listener: ReadinessListener): void;
  /** Stops polling, unloads the models and ends the worker threads. */
  close(): Promise<void>;
}

function* textModels(repository: Repository): Iterable<GenerationMetricsSource> {
  for (const { name: model, version, executor } of repository.served()) {
    const snapshot = executor.generations?.();
    if (snapshot) yield { model, version, snapshot };
  }
}

/**
 * Makes a predictor that has loaded nothing yet.
 *
 * @throws TensorwireError `SETTING_INVALID` for an execution provider that is not there
 */
export function createPredictor(options: PredictorOptions): Predictor {
  checkProviders(options.onnx.defaults);
  const { log, registry, controlMode, cores } = options;
  const pool = new WorkerPool(options.modelThreads || cores, log);
  const responses = options.responseCache && {
    cache: new ResponseCache(options.responseCache.bytes),
    models: options.responseCache.models,
  };
  const repository = new Repository({
    paths: options.repositories,
    modelName: options.modelName,
    openOnnx: createOnnxOpener(
      pool,
      { ...options.onnx, cores, onGraphCache: observeGraphCache(registry, log) },
      log,
    ),
    backend: () => backend,
    responses,
    memory: {
      limitBytes: options.modelMemoryBytes,
      pinned: options.pinModels,
      loadTimeoutMs: options.modelLoadTimeoutMs,
      maxWaitingCalls: options.maxQueueSize,
      now: () => performance.now(),
      after: afterMs,
    },
    maxQueueSize: options.maxQueueSize,
    maxMessageBytes: options.maxMessageBytes,
    observer: createInferenceHistograms(registry),
    traces: options.traces,
    log,
  });
  registerModelMetrics(registry, repository, () => pool.sharedBytes);
  const regions = options.sharedMemory && new RegionTable(options.sharedMemory);
  if (regions) registerMemoryMetrics(registry, regions);
  if (responses) registerCacheMetrics(registry, responses.cache, repository);
  registerGenerationMetrics(registry, () => textModels(repository));

  let started = false;
  let pollTimer: NodeJS.Timeout | undefined;
  let polling: Promise<void> = Promise.resolve();

  const poll = async (): Promise<void> => {
    try {
      await repository.poll(options.modelLoading === "lazy" ? "stand by" : "load");
    } catch (error) {
      log.error({ err: error }, "the model repository could not be read; it is tried again");
    }
    pollTimer = setTimeout(() => (polling = poll()), options.pollIntervalMs);
    pollTimer.unref();
  };

  const isReady = (): boolean => {
    if (!started) return false;
    if (!options.strictReadiness) return true;
    return repository
      .index()
      .every(({ state }) => answersCalls(state) || state.kind === "unloaded");
  };

  const backend = createPredictorBackend({
    repository,
    regions,
    control: { mode: controlMode, allowRemote: options.allowRemoteControl },
    serverName: options.serverName,
    serverVersion: options.serverVersion,
    isReady,
    log,
    traces: options.traces,
  });

  return {
    backend,
    async start() {
      const present = await repository.scan();
      const all = controlMode !== "explicit" || options.loadModels.includes("*");
      const first = new Set([...options.pinModels, ...options.preloadModels]);
      const names = new Set([...first, ...(all ? present : options.loadModels)]);
      // What is in the repository and fails shows in the index; what is not there does not.
      const missing = [...names].find((name) => !present.includes(name));
      const others = present.filter((name) => names.has(name) && !first.has(name));
      await repository.loadAll(present.filter((name) => first.has(name)));
      if (options.modelLoading === "lazy") await repository.standByAll(others);
      else await repository.loadAll(others, "free");
      if (missing !== undefined) throw modelNotFound(missing);
      started = true;
      if (controlMode === "poll") {
        pollTimer = setTimeout(() => (polling = poll()), options.pollIntervalMs);
        pollTimer.unref();
      }
    },
    isReady,
    index: () => repository.index(),
    onReadiness: (listener) => repository.onReadiness(listener),
    async close() {
      clearTimeout(pollTimer);
      await polling;
      clearTimeout(pollTimer);
      await repository.close();
      await pool.close();
      regions?.unregisterAll();
    },
  };
}
