import { Counter, Gauge, type Registry } from "prom-client";
import type { Log } from "../observability/log.ts";
import type { GraphCacheOutcome, GraphCacheReport } from "./engines/onnx/graph-cache.ts";

const outcomes: readonly GraphCacheOutcome[] = ["hit", "stored", "replaced", "failed"];

/**
 * Counts what becomes of looks into the graph cache; that it cannot be used is said in the log, once,
 * for models load without it.
 */
export function observeGraphCache(
  registry: Registry,
  log: Log,
): (report: GraphCacheReport) => void {
  const total = new Counter({
    name: "tensorwire_graph_cache_total",
    help: "Sessions opened through the cache of optimised graphs: from it (hit), with the graph kept (stored), in place of a damaged one (replaced), or without it (failed)",
    labelNames: ["outcome"] as const,
    registers: [registry],
  });
  for (const outcome of outcomes) total.inc({ outcome }, 0);
  const size = new Gauge({
    name: "tensorwire_graph_cache_bytes",
    help: "Bytes of the cache of optimised graphs when one was last kept",
    // Workers share a folder.
    aggregator: "max",
    registers: [registry],
  });
  let warned = false;
  return ({ outcome, why, bytes }) => {
    total.inc({ outcome });
    if (bytes !== undefined) size.set(bytes);
    if (outcome === "replaced") log.warn({}, "a damaged graph in the graph cache was made again");
    if (outcome !== "failed" || warned) return;
    warned = true;
    log.warn({ why }, "the graph cache cannot be used; models load without it");
  };
}
