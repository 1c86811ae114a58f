import { Counter, Gauge, type Registry } from "prom-client";
import type { ModelStatistics } from "../model-statistics.ts";
import type { RestingModel } from "../repository/version-state.ts";
import type { ResponseCache } from "./response-cache.ts";

/** Counters under Triton's names: help, and the value of a model version. */
const counters: readonly (readonly [string, string, (statistics: ModelStatistics) => number])[] = [
  [
    "nv_cache_num_hits_per_model",
    "Calls that found their answer in the cache, or an equal call under way",
    ({ cacheHit }) => cacheHit.count,
  ],
  [
    "nv_cache_num_misses_per_model",
    "Calls that the cache had no answer for",
    ({ cacheMiss }) => cacheMiss.count,
  ],
  [
    "nv_cache_hit_duration_per_model",
    "Time to look up what was found in the cache, in us",
    ({ cacheHit }) => us(cacheHit.ns),
  ],
  [
    "nv_cache_miss_duration_per_model",
    "Time to look up what was not in the cache and to put it there, in us",
    ({ cacheMiss }) => us(cacheMiss.ns),
  ],
];

/** Registers the counts of the models whose answers are cached, and the size of the cache. */
export function registerCacheMetrics(
  registry: Registry,
  cache: ResponseCache,
  models: { known(): Iterable<RestingModel> },
): void {
  for (const [name, help, value] of counters) {
    new Counter({
      name,
      help,
      labelNames: ["model", "version"],
      registers: [registry],
      collect() {
        this.reset();
        for (const { name: model, version, config, statistics } of models.known()) {
          if (config.responseCache?.enable) this.inc({ model, version }, value(statistics));
        }
      },
    });
  }
  gauge(registry, "bytes", "Memory that cached answers take", () => cache.bytes);
  gauge(
    registry,
    "limit_bytes",
    "Memory that cached answers may take (--response-cache-size)",
    () => cache.limitBytes,
  );
  gauge(registry, "entries", "Answers in the cache", () => cache.entries);
  counter(
    registry,
    "evictions_total",
    "Answers that left the cache to make room for others",
    () => cache.evictions,
  );
  counter(
    registry,
    "too_large_total",
    "Answers that were larger than the whole cache, and were not kept",
    () => cache.tooLarge,
  );
}

function gauge(registry: Registry, name: string, help: string, value: () => number): void {
  new Gauge({
    name: `tensorwire_response_cache_${name}`,
    help,
    registers: [registry],
    collect() {
      this.set(value());
    },
  });
}

function counter(registry: Registry, name: string, help: string, value: () => number): void {
  new Counter({
    name: `tensorwire_response_cache_${name}`,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(value());
    },
  });
}

function us(ns: number): number {
  return Math.round(ns / 1000);
}
