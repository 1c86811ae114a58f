import { create } from "@bufbuild/protobuf";
import {
  type ModelConfig,
  ModelResponseCacheSchema,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import type { Log } from "../../observability/log.ts";
import type { Executor } from "../executor.ts";
import type { ModelStatistics } from "../model-statistics.ts";
import { CachedExecutor } from "./cached-executor.ts";
import type { Repeats } from "./repeats.ts";
import type { ResponseCache } from "./response-cache.ts";

/**
 * Which models are cached: those whose configuration says so, or all whose answers repeat and whose configuration
 * does not say otherwise.
 */
export type CachedModels = "configured" | "all";

/** A cache, and what it is for. */
export interface CacheUse {
  readonly cache: ResponseCache;
  readonly models: CachedModels;
}

/** What loading a model knows of the cache. */
export interface CacheContext {
  /** `undefined` where nothing is cached. */
  readonly responses?: CacheUse | undefined;
  /** Calls that may wait for the runs of others, of each model. */
  readonly maxQueueSize: number;
  readonly log: Log;
}

/** A model that is loaded, as far as the cache minds. */
export interface CacheableModel {
  readonly name: string;
  /** Completed; that answers are cached, or not, is written into it. */
  readonly config: ModelConfig;
  readonly executor: Executor;
  readonly repeats: Repeats;
  readonly statistics: ModelStatistics;
}

/**
 * Puts a cache before a model, if it is to have one; gives its executor back as it is if not.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID` for a configuration that asks for what cannot be
 */
export function withCache(
  { name, config, executor, repeats, statistics }: CacheableModel,
  { responses, maxQueueSize, log }: CacheContext,
): Executor {
  const asked = config.responseCache?.enable;
  if (asked && repeats === "no") {
    throw modelConfigInvalid(
      name,
      "has response_cache { enable: true }, and its answers cannot be kept: it has sequences, or any number of answers to a call",
    );
  }
  if (asked && !responses) {
    log.warn(
      { model: name },
      "response_cache of config.pbtxt does nothing while --response-cache-size is 0",
    );
  }
  const wanted = asked ?? (responses?.models === "all" && repeats === "yes");
  const enable = wanted && responses !== undefined;
  if (config.responseCache || enable)
    config.responseCache = create(ModelResponseCacheSchema, { enable });
  if (!enable) return executor;
  const { schedulingChoice } = config;
  return new CachedExecutor({
    model: name,
    executor,
    statistics,
    shelf: responses.cache.open(),
    limit: maxQueueSize,
    preserveOrder:
      schedulingChoice.case === "dynamicBatching" && schedulingChoice.value.preserveOrdering,
    now: () => performance.now(),
  });
}
