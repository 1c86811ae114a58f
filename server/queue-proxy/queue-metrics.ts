import { Gauge, type Registry } from "prom-client";
import {
  BoundCounter,
  BoundHistogram,
  type CounterCell,
  type HistogramCell,
} from "../observability/bound-metrics.ts";
import type { AdmissionQueue } from "./queue/admission-queue.ts";
import { type ShedReason, shedReasons } from "./queue/queued-call.ts";

/** Seconds; those of Knative's own histogram, with finer ones below. */
const seconds = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10,
  30, 60, 300,
];
const knativeSeconds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** What is counted of the calls of one class. */
export class ClassMetrics {
  readonly wait: HistogramCell;
  readonly upstream: HistogramCell;
  readonly requestBytes: CounterCell;
  readonly responseBytes: CounterCell;
  readonly shed: Readonly<Record<ShedReason, CounterCell>>;
  readonly #name: string;
  readonly #all: QueueMetrics;
  readonly #http = new Map<number, HistogramCell>();
  readonly #grpc = new Map<number, HistogramCell>();

  constructor(name: string, all: QueueMetrics) {
    this.#name = name;
    this.#all = all;
    this.wait = all.wait.bind({ class: name });
    this.upstream = all.upstream.bind({ class: name });
    this.requestBytes = all.bytes.bind({ class: name, direction: "request" });
    this.responseBytes = all.bytes.bind({ class: name, direction: "response" });
    this.shed = Object.fromEntries(
      shedReasons.map((reason) => [reason, all.shed.bind({ class: name, reason })]),
    ) as Record<ShedReason, CounterCell>;
  }

  /**
   * A call is over.
   *
   * @param status - of HTTP; 0 if the caller went before it was sent one
   * @param grpcStatus - of calls of gRPC that came so far
   */
  ended(status: number, grpcStatus: number | undefined, durationSeconds: number): void {
    this.#all.invocation(status).observe(durationSeconds);
    if (grpcStatus === undefined) {
      let cell = this.#http.get(status);
      if (!cell) {
        cell = this.#bind("http", status === 0 ? "gone" : `${status}`);
        this.#http.set(status, cell);
      }
      cell.observe(durationSeconds);
      return;
    }
    let cell = this.#grpc.get(grpcStatus);
    if (!cell) {
      cell = this.#bind("grpc", grpcCodes[grpcStatus] ?? "UNKNOWN");
      this.#grpc.set(grpcStatus, cell);
    }
    cell.observe(durationSeconds);
  }

  #bind(protocol: string, code: string): HistogramCell {
    return this.#all.duration.bind({ class: this.#name, protocol, code });
  }
}

/** Names of the codes of gRPC, by number. */
const grpcCodes = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
];

/** Metrics of the proxy, those of Knative's queue-proxy under its names. */
export class QueueMetrics {
  readonly duration: BoundHistogram;
  readonly wait: BoundHistogram;
  readonly upstream: BoundHistogram;
  readonly bytes: BoundCounter;
  readonly shed: BoundCounter;
  readonly #invocations: BoundHistogram;
  readonly #byStatus = new Map<number, HistogramCell>();
  readonly #classes = new Map<string, ClassMetrics>();

  constructor(registry: Registry) {
    this.#invocations = new BoundHistogram({
      name: "kn_serving_invocation_duration_seconds",
      help: "Time of calls, as Knative's queue-proxy counts it",
      buckets: knativeSeconds,
      registry,
    });
    this.duration = new BoundHistogram({
      name: "tensorwire_queue_call_seconds",
      help: "Time of calls in all, by class, protocol and status",
      buckets: seconds,
      registry,
    });
    this.wait = new BoundHistogram({
      name: "tensorwire_queue_wait_seconds",
      help: "Time of calls in the queue before they were sent to the server",
      buckets: seconds,
      registry,
    });
    this.upstream = new BoundHistogram({
      name: "tensorwire_queue_upstream_seconds",
      help: "Time from sending a call to the server until it is over",
      buckets: seconds,
      registry,
    });
    this.bytes = new BoundCounter({
      name: "tensorwire_queue_bytes_total",
      help: "Content of requests and responses, in bytes",
      registry,
    });
    this.shed = new BoundCounter({
      name: "tensorwire_queue_shed_total",
      help: "Calls that were not sent to the server, by reason",
      registry,
    });
  }

  ofClass(name: string): ClassMetrics {
    let metrics = this.#classes.get(name);
    if (!metrics) {
      metrics = new ClassMetrics(name, this);
      this.#classes.set(name, metrics);
    }
    return metrics;
  }

  invocation(status: number): HistogramCell {
    let cell = this.#byStatus.get(status);
    if (!cell) {
      cell = this.#invocations.bind({ http_response_status_code: `${status}` });
      this.#byStatus.set(status, cell);
    }
    return cell;
  }
}

/** Adds what the queue holds to the metrics. */
export function registerQueueGauges(registry: Registry, queue: AdmissionQueue): void {
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  };
  const byClass = (name: string, help: string, key: "running" | "waiting"): void => {
    new Gauge({
      name,
      help,
      labelNames: ["class"],
      registers: [registry],
      collect() {
        for (const [label, callClass] of queue.classes) this.set({ class: label }, callClass[key]);
      },
    });
  };
  gauge(
    "kn_serving_queue_depth",
    "Calls that are under way or wait, as Knative's queue-proxy counts them",
    () => queue.running + queue.waiting,
  );
  byClass("tensorwire_queue_running", "Calls that the server works on", "running");
  byClass("tensorwire_queue_waiting", "Calls that wait", "waiting");
  gauge(
    "tensorwire_queue_waiting_bytes",
    "Content that waits with calls, in bytes",
    () => queue.waitingBytes,
  );
  gauge(
    "tensorwire_queue_capacity",
    "Calls that the server may work on at once; 0 is without a limit",
    () => (queue.capacity === Number.POSITIVE_INFINITY ? 0 : queue.capacity),
  );
}
