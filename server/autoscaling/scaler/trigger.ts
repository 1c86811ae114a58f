import { triggerInvalid } from "../../errors/autoscaling-errors.ts";
import type { EndpointsSpec } from "./endpoints.ts";
import { parseEndpoints } from "./endpoints.ts";

/** How the samples of a metric become a number. */
export type SampleView =
  /** As they are. */
  | { readonly kind: "value" }
  /** Of counters: what they rose by, a second. */
  | { readonly kind: "rate" }
  /** Of a histogram: so large a share of what came in the window was no larger. */
  | { readonly kind: "quantile"; readonly share: number };

/** Where the value of a trigger comes from. */
export type TriggerSource =
  /** Reports of queue-proxies, as Knative's autoscaler reads them. */
  | {
      readonly kind: "stat";
      readonly value: "concurrency" | "request-rate";
      readonly endpoints: EndpointsSpec;
    }
  /** Metrics in Prometheus' text format. */
  | {
      readonly kind: "metric";
      readonly name: string;
      readonly labels: Readonly<Record<string, string>>;
      readonly view: SampleView;
      readonly across: "sum" | "max" | "mean";
      readonly endpoints: EndpointsSpec;
    }
  /** An expression that a Prometheus server evaluates. */
  | { readonly kind: "prometheus"; readonly query: string };

/** A trigger of a ScaledObject. */
export interface Trigger {
  /** What KEDA calls the metric. */
  readonly metricName: string;
  /** Value that each pod should have. */
  readonly target: number;
  /** Above it the workload is active. */
  readonly activation: number;
  /** Time that values are averaged over, in ms. */
  readonly windowMs: number;
  readonly source: TriggerSource;
}

const keys = [
  "scalerAddress",
  "metric",
  "target",
  "activationTarget",
  "window",
  "endpoints",
  "name",
  "as",
  "across",
  "query",
] as const;
const maxWindowSeconds = 600;
const maxTextLength = 4096;

/** Metrics of the queue-proxy and of every process of ours, by the names that triggers may use. */
const shortcuts = {
  "queue-length": { name: "tensorwire_queue_waiting", as: "value", across: "sum" },
  latency: { name: "tensorwire_queue_call_seconds", as: "p99", across: "max" },
  cpu: { name: "process_cpu_seconds_total", as: "rate", across: "sum" },
} as const;
const metrics = ["concurrency", "request-rate", ...Object.keys(shortcuts), "metric", "prometheus"];

/**
 * Reads the metadata of a trigger of type `external`.
 *
 * @throws TensorwireError `TRIGGER_INVALID`
 */
export function parseTrigger(metadata: Readonly<Record<string, string>>): Trigger {
  for (const [key, value] of Object.entries(metadata)) {
    // KEDA adds its own for TLS, and passes what it does not know.
    if (!(keys as readonly string[]).includes(key) && !/^(tls|ca|unsafe|metricType)/i.test(key)) {
      throw triggerInvalid(key, value, `one of ${keys.join(", ")}`);
    }
    if (value.length > maxTextLength) {
      throw triggerInvalid(key, `${value.length} characters`, `at most ${maxTextLength}`);
    }
  }
  const metric = metadata.metric ?? "";
  const common = {
    metricName: `tensorwire-${metric}`,
    target: readNumber(metadata, "target", undefined, "a number above 0", (value) => value > 0),
    activation: readNumber(
      metadata,
      "activationTarget",
      0,
      "a number from 0 on",
      (value) => value >= 0,
    ),
    windowMs:
      1000 *
      readNumber(
        metadata,
        "window",
        30,
        `seconds from 1 to ${maxWindowSeconds}`,
        (value) => Number.isInteger(value) && value >= 1 && value <= maxWindowSeconds,
      ),
  };
  return { ...common, source: readSource(metric, metadata) };
}

function readSource(metric: string, metadata: Readonly<Record<string, string>>): TriggerSource {
  switch (metric) {
    case "concurrency":
    case "request-rate":
      return { kind: "stat", value: metric, endpoints: parseEndpoints(metadata.endpoints) };
    case "metric":
      return readMetric(metadata, { name: "", as: "value", across: "sum" });
    case "prometheus": {
      const { query = "" } = metadata;
      if (query.trim() === "") throw triggerInvalid("query", query, "an expression of PromQL");
      return { kind: "prometheus", query };
    }
    default:
      if (Object.hasOwn(shortcuts, metric)) {
        return readMetric(metadata, shortcuts[metric as keyof typeof shortcuts]);
      }
      throw triggerInvalid("metric", metric, `one of ${metrics.join(", ")}`);
  }
}

function readMetric(
  metadata: Readonly<Record<string, string>>,
  defaults: { readonly name: string; readonly as: string; readonly across: string },
): TriggerSource {
  const { name: selector = defaults.name, as = defaults.as, across = defaults.across } = metadata;
  if (across !== "sum" && across !== "max" && across !== "mean") {
    throw triggerInvalid("across", across, "sum, max or mean");
  }
  const { name, labels } = readSelector(selector);
  return {
    kind: "metric",
    name,
    labels,
    view: readView(as),
    across,
    endpoints: parseEndpoints(metadata.endpoints),
  };
}

function readView(as: string): SampleView {
  if (as === "value" || as === "rate") return { kind: as };
  const percent = Number(/^p(\d{1,2}(?:\.\d+)?)$/.exec(as)?.[1]);
  if (percent > 0) return { kind: "quantile", share: Number((percent / 100).toPrecision(12)) };
  throw triggerInvalid("as", as, "value, rate, or a quantile of a histogram such as p99");
}

/** `name`, or `name{label="value",...}` with equality only. */
function readSelector(text: string): { name: string; labels: Record<string, string> } {
  const expected = 'the name of a metric, such as nv_inference_count{model="iris"}';
  const found = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})?$/s.exec(text.trim());
  if (!found) throw triggerInvalid("name", text, expected);
  const [, name = "", inner = ""] = found;
  const labels: Record<string, string> = {};
  const each = /\s*([a-zA-Z_][a-zA-Z0-9_]*)="([^"\\]*)"\s*(?:,|$)/y;
  while (each.lastIndex < inner.length) {
    const pair = each.exec(inner);
    if (!pair) throw triggerInvalid("name", text, expected);
    labels[pair[1]!] = pair[2]!;
  }
  return { name, labels };
}

function readNumber(
  metadata: Readonly<Record<string, string>>,
  key: string,
  fallback: number | undefined,
  expected: string,
  fits: (value: number) => boolean,
): number {
  const text = metadata[key];
  if (text === undefined && fallback !== undefined) return fallback;
  const value = Number(text?.trim() || Number.NaN);
  if (Number.isFinite(value) && fits(value)) return value;
  throw triggerInvalid(key, text ?? "nothing", expected);
}
