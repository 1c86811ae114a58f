import { type HrTime, SpanKind, SpanStatusCode, TraceFlags } from "@opentelemetry/api";
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { Registry } from "prom-client";
import { BoundCounter, type CounterCell } from "../bound-metrics.ts";
import type { Log } from "../log.ts";
import { ExportReport } from "./export-report.ts";
import type { FinishedSpan, SpanSink } from "./finished-span.ts";
import { lastExport } from "./last-export.ts";
import type { OtlpProtocol } from "./otlp-metrics.ts";
import { otlpResource } from "./otlp-resource.ts";

/** Settings of {@link startOtlpSpans}. */
export interface OtlpSpansOptions {
  readonly protocol: OtlpProtocol;
  /** URL of the collector; `undefined` leaves it to the variables of OpenTelemetry, and to its default. */
  readonly url: string | undefined;
  readonly resource: Readonly<Record<string, string>>;
  /** Of the program. */
  readonly version: string;
  readonly registry: Registry;
  readonly log: Log;
}

/** An export of spans that runs. */
export interface OtlpSpans extends SpanSink {
  /** Exports what waits, for a few seconds at most, and lets the collector go. */
  stop(): Promise<void>;
}

/** Spans that wait at most, spans of one export, and the time after which they are exported in ms: as OpenTelemetry's own processor. */
const maxWaiting = 2048;
const batchSize = 512;
const delayMs = 5_000;

/**
 * Sends spans to a collector of OpenTelemetry, some at a time. Those that come faster than they are taken
 * are left out and counted: no call waits for them.
 */
export async function startOtlpSpans(options: OtlpSpansOptions): Promise<OtlpSpans> {
  return new SpanQueue(await openExporter(options), options);
}

class SpanQueue implements OtlpSpans {
  readonly #exporter: SpanExporter;
  readonly #common: Pick<ReadableSpan, "resource" | "instrumentationScope">;
  readonly #report: ExportReport;
  readonly #dropped: CounterCell;
  #waiting: FinishedSpan[] = [];
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> | undefined;

  constructor(exporter: SpanExporter, { resource, version, registry, log }: OtlpSpansOptions) {
    this.#exporter = exporter;
    this.#common = {
      resource: otlpResource(resource),
      instrumentationScope: { name: "tensorwire", version },
    };
    this.#report = new ExportReport("traces", registry, log);
    this.#dropped = new BoundCounter({
      name: "tensorwire_otlp_spans_dropped_total",
      help: "Spans that were left out, since the collector takes them too slowly or not at all",
      registry,
    }).bind({});
  }

  end(span: FinishedSpan): void {
    if (this.#waiting.length >= maxWaiting) {
      this.#dropped.inc();
      return;
    }
    this.#waiting.push(span);
    if (this.#waiting.length >= batchSize) this.#begin();
    else this.#timer ??= setTimeout(() => this.#begin(), delayMs).unref();
  }

  async stop(): Promise<void> {
    await lastExport(async () => {
      await this.#running;
      while (this.#waiting.length > 0) await this.#begin();
      await this.#exporter.shutdown();
    });
  }

  /** Exports a batch, unless one is under way; the next one follows. */
  #begin(): Promise<void> {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    this.#running ??= this.#send().finally(() => {
      this.#running = undefined;
      if (this.#waiting.length >= batchSize) this.#begin();
      else if (this.#waiting.length > 0) {
        this.#timer ??= setTimeout(() => this.#begin(), delayMs).unref();
      }
    });
    return this.#running;
  }

  async #send(): Promise<void> {
    const spans = this.#waiting.slice(0, batchSize);
    this.#waiting = this.#waiting.slice(batchSize);
    // The clock of calls is monotonic; that of the day may have been set since.
    const originMs = Date.now() - performance.now();
    const readable = spans.map((span) => readableSpan(span, originMs, this.#common));
    try {
      const { code, error } = await new Promise<{ readonly code: number; readonly error?: Error }>(
        (resolve) => this.#exporter.export(readable, resolve),
      );
      // 0 is success; the enum is of a package that is not loaded for it.
      if (code === 0) this.#report.sent();
      else this.#fail(spans, error ?? new Error("the export has failed"));
    } catch (error) {
      this.#fail(spans, error as Error);
    }
  }

  #fail(spans: readonly FinishedSpan[], error: Error): void {
    this.#dropped.value += spans.length;
    this.#report.failed(error);
  }
}

/** Loads what the protocol needs, and nothing of the other one. */
async function openExporter({ protocol, url }: OtlpSpansOptions): Promise<SpanExporter> {
  const config = url === undefined ? {} : { url };
  switch (protocol) {
    case "grpc": {
      const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-grpc");
      return new OTLPTraceExporter(config);
    }
    case "http/protobuf": {
      const { OTLPTraceExporter } = await import("@opentelemetry/exporter-trace-otlp-proto");
      return new OTLPTraceExporter(config);
    }
  }
}

function readableSpan(
  span: FinishedSpan,
  originMs: number,
  common: Pick<ReadableSpan, "resource" | "instrumentationScope">,
): ReadableSpan {
  const { traceId, spanId, parentSpanId, name, startMs, endMs, attributes, error } = span;
  const traceFlags = TraceFlags.SAMPLED;
  return {
    ...common,
    name,
    kind: SpanKind.SERVER,
    spanContext: () => ({ traceId, spanId, traceFlags }),
    ...(parentSpanId === undefined
      ? {}
      : { parentSpanContext: { traceId, spanId: parentSpanId, traceFlags, isRemote: true } }),
    startTime: hrTime(originMs + startMs),
    endTime: hrTime(originMs + endMs),
    duration: hrTime(endMs - startMs),
    status:
      error === undefined
        ? { code: SpanStatusCode.UNSET }
        : { code: SpanStatusCode.ERROR, message: error },
    attributes,
    links: [],
    events: [],
    ended: true,
    droppedAttributesCount: 0,
    droppedEventsCount: 0,
    droppedLinksCount: 0,
  };
}

function hrTime(ms: number): HrTime {
  const seconds = Math.floor(ms / 1000);
  return [seconds, Math.round((ms - seconds * 1000) * 1e6)];
}
