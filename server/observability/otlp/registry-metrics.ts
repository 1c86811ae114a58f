import { type HrTime, ValueType } from "@opentelemetry/api";
import {
  AggregationTemporality,
  type DataPoint,
  DataPointType,
  type Histogram,
  type MetricData,
} from "@opentelemetry/sdk-metrics";
import type { MetricObjectWithValues, MetricValue, Registry } from "prom-client";
import type { OtlpName, OtlpNames } from "./otlp-names.ts";

/** A value as prom-client gives it. */
type NamedValue = MetricValue<string> & { readonly metricName?: string };
type Attributes = DataPoint<number>["attributes"];

/** From when to when values were counted. */
interface Period {
  readonly startTime: HrTime;
  readonly endTime: HrTime;
}

/**
 * Reads all metrics of a registry in the form of OpenTelemetry's exporters: what is counted for Prometheus
 * is not counted again. Values are cumulative from the start of the process. Summaries are left out.
 */
export async function registryMetrics(
  registry: Registry,
  names: OtlpNames,
  period: Period,
): Promise<MetricData[]> {
  const metrics = await registry.getMetricsAsJSON();
  return metrics.flatMap((metric) => metricData(metric, names[metric.name], period));
}

function metricData(
  metric: MetricObjectWithValues<MetricValue<string>>,
  name: OtlpName | undefined,
  period: Period,
): MetricData[] {
  const base = {
    descriptor: {
      name: name?.name ?? metric.name,
      description: metric.help,
      unit: name?.unit ?? unitOf(metric.name),
      valueType: ValueType.DOUBLE,
    },
    aggregationTemporality: AggregationTemporality.CUMULATIVE,
  };
  // prom-client's type says MetricType, an enum that its values of run time are not.
  switch (metric.type as unknown as string) {
    case "counter":
      return [
        {
          ...base,
          dataPointType: DataPointType.SUM,
          isMonotonic: true,
          dataPoints: numberPoints(metric.values, name, period),
        },
      ];
    case "gauge":
      return [
        {
          ...base,
          dataPointType: DataPointType.GAUGE,
          dataPoints: numberPoints(metric.values, name, period),
        },
      ];
    case "histogram":
      return [
        {
          ...base,
          dataPointType: DataPointType.HISTOGRAM,
          dataPoints: histogramPoints(metric.values, name, period),
        },
      ];
    default:
      return [];
  }
}

function numberPoints(
  values: readonly MetricValue<string>[],
  name: OtlpName | undefined,
  period: Period,
): DataPoint<number>[] {
  return values.map(({ labels, value }) => ({
    ...period,
    attributes: attributesOf(labels, name),
    value,
  }));
}

/** Puts the lines of a histogram together again: buckets that rise, a sum and a count for each set of labels. */
function histogramPoints(
  values: readonly NamedValue[],
  name: OtlpName | undefined,
  period: Period,
): DataPoint<Histogram>[] {
  const points = new Map<string, HistogramPoint>();
  for (const { labels, value, metricName = "" } of values) {
    const { le, ...rest } = labels as Record<string, string | number>;
    const key = JSON.stringify(rest);
    let point = points.get(key);
    if (!point) {
      point = new HistogramPoint(attributesOf(rest, name));
      points.set(key, point);
    }
    if (metricName.endsWith("_sum")) point.sum = value;
    else if (metricName.endsWith("_count")) point.count = value;
    else point.addBucket(le!, value);
  }
  return [...points.values()].map((point) => ({
    ...period,
    attributes: point.attributes,
    value: {
      buckets: { boundaries: point.bounds, counts: point.counts },
      sum: point.sum,
      count: point.count,
    },
  }));
}

class HistogramPoint {
  readonly attributes: Attributes;
  readonly bounds: number[] = [];
  readonly counts: number[] = [];
  sum = 0;
  count = 0;
  #below = 0;

  constructor(attributes: Attributes) {
    this.attributes = attributes;
  }

  /** @param upTo - how many were at most `bound`, with those of all buckets before */
  addBucket(bound: string | number, upTo: number): void {
    if (bound !== "+Inf") this.bounds.push(Number(bound));
    this.counts.push(upTo - this.#below);
    this.#below = upTo;
  }
}

function attributesOf(
  labels: Readonly<Record<string, string | number | undefined>>,
  name: OtlpName | undefined,
): Attributes {
  const attributes: Attributes = {};
  for (const [label, value] of Object.entries(labels)) {
    // An empty label is none for Prometheus.
    if (value === undefined || value === "") continue;
    const attribute = name?.attributes[label];
    switch (attribute?.kind) {
      case undefined:
        attributes[label] = value;
        break;
      case "text":
        attributes[attribute.name] = `${value}`;
        break;
      case "number":
        attributes[attribute.name] = Number(value);
        break;
      case "truth":
        attributes[attribute.name] = value === "true";
        break;
    }
  }
  return attributes;
}

/** The unit that Prometheus has at the end of names, as UCUM writes it. */
function unitOf(name: string): string {
  const plain = name.replace(/_total$/, "");
  if (plain.endsWith("_seconds")) return "s";
  if (plain.endsWith("_bytes")) return "By";
  return "";
}
