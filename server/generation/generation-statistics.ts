import type { EndReason, GenerationObservation } from "./generation-observation.ts";

/** Observations sorted into buckets. */
export interface HistogramNumbers {
  /** Upper bounds, rising, in seconds. */
  readonly bounds: readonly number[];
  /** Observations of each bucket alone; the last one has no upper bound. */
  readonly counts: readonly number[];
  readonly sum: number;
}

/** Numbers to export, under the names that vLLM gives them, where it has any; histograms and the usage in base units. */
export interface GenerationSnapshot {
  readonly gauges: {
    readonly "vllm:num_requests_running": number;
    readonly "vllm:num_requests_waiting": number;
    readonly tensorwire_generation_slots: number;
    readonly tensorwire_generation_waiting_limit: number;
    /** A share of 1, in spite of its name. */
    readonly "vllm:kv_cache_usage_perc": number;
  };
  readonly counters: {
    readonly "vllm:prompt_tokens_total": number;
    readonly "vllm:generation_tokens_total": number;
  };
  /** vllm:request_success_total by its label finished_reason; `error` is none of vLLM's. */
  readonly finished: Readonly<Record<EndReason, number>>;
  readonly histograms: {
    readonly "vllm:time_to_first_token_seconds": HistogramNumbers;
    readonly "vllm:inter_token_latency_seconds": HistogramNumbers;
    readonly "vllm:e2e_request_latency_seconds": HistogramNumbers;
  };
}

/** Adds up observations. */
export interface GenerationStatistics {
  add(observation: GenerationObservation): void;
  /** The sums so far; plain data that can cross between threads. */
  snapshot(): GenerationSnapshot;
}

// vLLM's bounds, with finer ones below them: a small model makes a token in a millisecond.
const firstTokenBounds = [
  0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20,
  40, 80, 160, 640, 2560,
];
const interTokenBounds = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1,
  2.5, 5, 7.5, 10, 20, 40, 80,
];
const endToEndBounds = [
  0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120,
  240, 480, 960, 1920, 7680,
];

/** Snapshots of several instances of a model as one; `undefined` if there are none. */
export function sumSnapshots(
  snapshots: readonly GenerationSnapshot[],
): GenerationSnapshot | undefined {
  const [first, ...others] = snapshots;
  if (!first) return undefined;
  const sum = others.reduce(added, first);
  const usage = sum.gauges["vllm:kv_cache_usage_perc"] / snapshots.length;
  return { ...sum, gauges: { ...sum.gauges, "vllm:kv_cache_usage_perc": usage } };
}

function added(a: GenerationSnapshot, b: GenerationSnapshot): GenerationSnapshot {
  const histograms = mapValues(a.histograms, (name, { bounds, counts, sum }) => ({
    bounds,
    counts: counts.map((count, index) => count + b.histograms[name].counts[index]!),
    sum: sum + b.histograms[name].sum,
  }));
  return {
    gauges: mapValues(a.gauges, (name, value) => value + b.gauges[name]),
    counters: mapValues(a.counters, (name, value) => value + b.counters[name]),
    finished: mapValues(a.finished, (name, value) => value + b.finished[name]),
    histograms,
  };
}

function mapValues<K extends string, V>(
  object: Readonly<Record<K, V>>,
  change: (name: K, value: V) => V,
): Record<K, V> {
  const names = Object.keys(object) as K[];
  return Object.fromEntries(names.map((name) => [name, change(name, object[name])])) as Record<
    K,
    V
  >;
}

/** Makes statistics without observations. */
export function createGenerationStatistics(): GenerationStatistics {
  const gauges = { running: 0, waiting: 0, slots: 0, maxWaiting: 0, cacheUsage: 0 };
  let promptTokens = 0;
  let generatedTokens = 0;
  const finished: Record<EndReason, number> = { stop: 0, length: 0, cancelled: 0, error: 0 };
  const firstToken = histogram(firstTokenBounds);
  const interToken = histogram(interTokenBounds);
  const endToEnd = histogram(endToEndBounds);
  return {
    add(observation) {
      gauges.running = observation.running;
      gauges.waiting = observation.waiting;
      gauges.slots = observation.slots;
      gauges.maxWaiting = observation.maxWaiting;
      gauges.cacheUsage = observation.cacheUsage;
      promptTokens += observation.promptTokens;
      generatedTokens += observation.generatedTokens;
      for (const seconds of observation.timesToFirstToken) firstToken.observe(seconds);
      for (const seconds of observation.interTokenLatencies) interToken.observe(seconds);
      for (const { reason, seconds } of observation.ended) {
        finished[reason]++;
        endToEnd.observe(seconds);
      }
    },
    snapshot: () => ({
      gauges: {
        "vllm:num_requests_running": gauges.running,
        "vllm:num_requests_waiting": gauges.waiting,
        tensorwire_generation_slots: gauges.slots,
        tensorwire_generation_waiting_limit: gauges.maxWaiting,
        "vllm:kv_cache_usage_perc": gauges.cacheUsage,
      },
      counters: {
        "vllm:prompt_tokens_total": promptTokens,
        "vllm:generation_tokens_total": generatedTokens,
      },
      finished: { ...finished },
      histograms: {
        "vllm:time_to_first_token_seconds": firstToken.numbers(),
        "vllm:inter_token_latency_seconds": interToken.numbers(),
        "vllm:e2e_request_latency_seconds": endToEnd.numbers(),
      },
    }),
  };
}

function histogram(bounds: readonly number[]) {
  const counts = new Array<number>(bounds.length + 1).fill(0);
  let sum = 0;
  return {
    observe(value: number): void {
      let bucket = 0;
      while (bucket < bounds.length && value > bounds[bucket]!) bucket++;
      counts[bucket]!++;
      sum += value;
    },
    numbers: (): HistogramNumbers => ({ bounds, counts: [...counts], sum }),
  };
}
