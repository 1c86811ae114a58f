import { Counter, Gauge, type Metric, type MetricValue, type Registry } from "prom-client";
import type { GenerationSnapshot, HistogramNumbers } from "./generation-statistics.ts";

/** What a text model version has done so far, for the metrics. */
export interface GenerationMetricsSource {
  readonly model: string;
  readonly version: string;
  readonly snapshot: GenerationSnapshot;
}

/** vLLM's label for the model, so that its dashboards find it, and the version beside it. */
const labelNames = ["model_name", "version"] as const;

const help = {
  "vllm:num_requests_running": "Generations that have a slot",
  "vllm:num_requests_waiting": "Generations that wait for a slot",
  tensorwire_generation_slots: "Generations that may have a slot",
  tensorwire_generation_waiting_limit: "Generations that may wait for a slot",
  "vllm:kv_cache_usage_perc": "Filled share of the cache of keys and values; 1 is full",
  "vllm:prompt_tokens_total": "Tokens of prompts that were computed",
  "vllm:generation_tokens_total": "Tokens that were generated",
  "vllm:time_to_first_token_seconds": "Time from submission to the first token of a generation",
  "vllm:inter_token_latency_seconds": "Time between two tokens of a generation",
  "vllm:e2e_request_latency_seconds": "Time from submission to the end of a generation",
} as const;

const gauges = [
  "vllm:num_requests_running",
  "vllm:num_requests_waiting",
  "tensorwire_generation_slots",
  "tensorwire_generation_waiting_limit",
  "vllm:kv_cache_usage_perc",
] as const satisfies readonly (keyof GenerationSnapshot["gauges"])[];
const counters = [
  "vllm:prompt_tokens_total",
  "vllm:generation_tokens_total",
] as const satisfies readonly (keyof GenerationSnapshot["counters"])[];
const histograms = [
  "vllm:time_to_first_token_seconds",
  "vllm:inter_token_latency_seconds",
  "vllm:e2e_request_latency_seconds",
] as const satisfies readonly (keyof GenerationSnapshot["histograms"])[];

/** Values of vLLM's label for how a generation ended. */
const finishedReasons = {
  stop: "stop",
  length: "length",
  cancelled: "abort",
  error: "error",
} as const;

/**
 * Registers the metrics of text models under the names that vLLM gives them.
 *
 * @param sources - the text models there are; asked when metrics are read
 */
export function registerGenerationMetrics(
  registry: Registry,
  sources: () => Iterable<GenerationMetricsSource>,
): void {
  const registers = [registry];
  for (const name of gauges) {
    new Gauge({
      name,
      help: help[name],
      labelNames,
      // Of several workers: a share is no sum.
      aggregator: name === "vllm:kv_cache_usage_perc" ? "average" : "sum",
      registers,
      collect() {
        this.reset();
        for (const source of sources()) this.set(labelsOf(source), source.snapshot.gauges[name]);
      },
    });
  }
  for (const name of counters) {
    new Counter({
      name,
      help: help[name],
      labelNames,
      registers,
      collect() {
        this.reset();
        for (const source of sources()) this.inc(labelsOf(source), source.snapshot.counters[name]);
      },
    });
  }
  new Counter({
    name: "vllm:request_success_total",
    help: "Generations that ended, by reason: stop, length, abort (cancelled) or error",
    labelNames: [...labelNames, "finished_reason"],
    registers,
    collect() {
      this.reset();
      for (const source of sources()) {
        for (const reason of ["stop", "length", "cancelled", "error"] as const) {
          const labels = { ...labelsOf(source), finished_reason: finishedReasons[reason] };
          this.inc(labels, source.snapshot.finished[reason]);
        }
      }
    },
  });
  for (const name of histograms) registerHistogram(registry, name, help[name], sources);
}

/** A histogram whose buckets were counted elsewhere, which prom-client's own does not take. */
function registerHistogram(
  registry: Registry,
  name: keyof GenerationSnapshot["histograms"],
  text: string,
  sources: () => Iterable<GenerationMetricsSource>,
): void {
  const described = { name, help: text, type: "histogram", aggregator: "sum" } as const;
  const metric = {
    ...described,
    async get() {
      const values = Array.from(sources(), (source) =>
        histogramValues(name, labelsOf(source), source.snapshot.histograms[name]),
      );
      return { ...described, values: values.flat() };
    },
    // The counts are their source's.
    reset() {},
  };
  // The registry asks for no more of a metric than this has.
  registry.registerMetric(metric as unknown as Metric<string>);
}

function histogramValues(
  name: string,
  labels: Readonly<Record<string, string>>,
  { bounds, counts, sum }: HistogramNumbers,
): (MetricValue<string> & { readonly metricName: string })[] {
  let total = 0;
  const buckets = [...bounds, "+Inf"].map((le, index) => {
    total += counts[index]!;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: total };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sum },
    { metricName: `${name}_count`, labels, value: total },
  ];
}

function labelsOf({ model, version }: GenerationMetricsSource) {
  return { model_name: model, version };
}
