import type { HrTime } from "@opentelemetry/api";
import type { PushMetricExporter, ResourceMetrics } from "@opentelemetry/sdk-metrics";
import type { Registry } from "prom-client";
import type { Log } from "../log.ts";
import { ExportReport } from "./export-report.ts";
import { lastExport } from "./last-export.ts";
import type { OtlpNames } from "./otlp-names.ts";
import { otlpResource } from "./otlp-resource.ts";
import { registryMetrics } from "./registry-metrics.ts";

/** How metrics go to a collector. */
export type OtlpProtocol = "grpc" | "http/protobuf";

/** Settings of {@link startOtlpMetrics}. */
export interface OtlpMetricsOptions {
  readonly protocol: OtlpProtocol;
  /** URL of the collector; `undefined` leaves it to the variables of OpenTelemetry, and to its default. */
  readonly url: string | undefined;
  /** Time between two exports, in ms. */
  readonly intervalMs: number;
  /** What the metrics are of; they win over OTEL_RESOURCE_ATTRIBUTES. */
  readonly resource: Readonly<Record<string, string>>;
  /** Of the program. */
  readonly version: string;
  readonly registry: Registry;
  readonly names: OtlpNames;
  readonly log: Log;
}

/** An export that runs. */
export interface OtlpMetrics {
  /** Exports a last time, for a few seconds at most, and lets the collector go. */
  stop(): Promise<void>;
}

/**
 * Sends the metrics of a registry to a collector of OpenTelemetry, again and again and at the end. Calls
 * pay nothing for it: values are read from their counters when they are sent. One export is under way at
 * most; one that is due meanwhile is left out. Headers, certificates, timeouts and compression come from
 * the variables of OpenTelemetry's exporters (OTEL_EXPORTER_OTLP_*).
 *
 * @see https://opentelemetry.io/docs/specs/otel/protocol/exporter/
 */
export async function startOtlpMetrics(options: OtlpMetricsOptions): Promise<OtlpMetrics> {
  const { registry, names, version, log } = options;
  const exporter = await openExporter(options);
  const resource = otlpResource(options.resource);
  const startTime = hrTime(Date.now() - process.uptime() * 1000);
  const report = new ExportReport("metrics", registry, log);
  let running: Promise<void> | undefined;

  async function collect(): Promise<ResourceMetrics> {
    const period = { startTime, endTime: hrTime(Date.now()) };
    const metrics = await registryMetrics(registry, names, period);
    return { resource, scopeMetrics: [{ scope: { name: "tensorwire", version }, metrics }] };
  }

  async function send(): Promise<void> {
    try {
      const metrics = await collect();
      const { error } = await new Promise<{ readonly error?: Error }>((resolve) =>
        exporter.export(metrics, ({ code, error }) =>
          // 0 is success; the enum is of a package that is not loaded for it.
          resolve(code === 0 ? {} : { error: error ?? new Error("the export has failed") }),
        ),
      );
      if (error) report.failed(error);
      else report.sent();
    } catch (error) {
      report.failed(error as Error);
    }
  }

  function begin(): Promise<void> {
    running = send().finally(() => {
      running = undefined;
    });
    return running;
  }

  const timer = setInterval(() => {
    if (running) report.skipped();
    else void begin();
  }, options.intervalMs);
  timer.unref();
  return {
    async stop() {
      clearInterval(timer);
      await lastExport(async () => {
        await running;
        await begin();
        await exporter.shutdown();
      });
    },
  };
}

/** Loads what the protocol needs, and nothing of the other one. */
async function openExporter({ protocol, url }: OtlpMetricsOptions): Promise<PushMetricExporter> {
  const config = url === undefined ? {} : { url };
  switch (protocol) {
    case "grpc": {
      const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-grpc");
      return new OTLPMetricExporter(config);
    }
    case "http/protobuf": {
      const { OTLPMetricExporter } = await import("@opentelemetry/exporter-metrics-otlp-proto");
      return new OTLPMetricExporter(config);
    }
  }
}

function hrTime(unixMs: number): HrTime {
  return [Math.floor(unixMs / 1000), Math.round((unixMs % 1000) * 1e6)];
}
