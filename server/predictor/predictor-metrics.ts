import { Counter, Gauge, type Registry } from "prom-client";
import { BoundHistogram, type HistogramCell } from "../observability/bound-metrics.ts";
import type { SequenceCounts } from "./executor.ts";
import { tritonFailure, tritonFailures } from "./failure-reason.ts";
import type { Repository } from "./repository/repository.ts";
import { answersCalls, type RestingModel } from "./repository/version-state.ts";
import type { CallObserver, ServedModel } from "./served-model.ts";

const labels = ["model", "version"] as const;

/** Seconds; a model takes from some microseconds to tens of seconds. */
const buckets = [
  0.00001, 0.000025, 0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
  0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** Counters under Triton's names: help, and the value of a model version. */
const counters: readonly (readonly [string, string, (model: RestingModel) => number])[] = [
  [
    "nv_inference_request_success",
    "Successful inference requests",
    ({ statistics }) => statistics.success.count,
  ],
  ["nv_inference_count", "Rows computed", ({ statistics }) => statistics.inferenceCount],
  [
    "nv_inference_exec_count",
    "Model executions, a batch is one",
    ({ statistics }) => statistics.executionCount,
  ],
  [
    "nv_inference_request_duration_us",
    "Time of successful requests in all, in us",
    ({ statistics }) => us(statistics.success.ns),
  ],
  [
    "nv_inference_queue_duration_us",
    "Time of successful requests in the queue, in us",
    ({ statistics }) => us(statistics.queue.ns),
  ],
  [
    "nv_inference_compute_input_duration_us",
    "Time to decode and hand over inputs, in us",
    ({ statistics }) => us(statistics.computeInput.ns),
  ],
  [
    "nv_inference_compute_infer_duration_us",
    "Time in the model, in us",
    ({ statistics }) => us(statistics.computeInfer.ns),
  ],
  [
    "nv_inference_compute_output_duration_us",
    "Time to encode outputs, in us",
    ({ statistics }) => us(statistics.computeOutput.ns),
  ],
];

/** Observes calls for the histograms; give it to the repository before {@link registerModelMetrics}. */
export function createInferenceHistograms(registry: Registry): CallObserver {
  const request = histogram(
    registry,
    "tensorwire_inference_request_duration_seconds",
    "Time of inference requests from decoded message to encoded answer",
  );
  const queue = histogram(
    registry,
    "tensorwire_inference_queue_duration_seconds",
    "Time of successful inference requests in the queue of their model",
  );
  const input = histogram(
    registry,
    "tensorwire_inference_compute_input_duration_seconds",
    "Time to decode and hand over the inputs of successful inference requests",
  );
  const infer = histogram(
    registry,
    "tensorwire_inference_compute_duration_seconds",
    "Time of successful inference requests in the model",
  );
  const output = histogram(
    registry,
    "tensorwire_inference_compute_output_duration_seconds",
    "Time to encode the outputs of successful inference requests",
  );
  const cells = new WeakMap<ServedModel, ModelCells>();
  return (served, outcome, totalNs, queueNs, times) => {
    let cell = cells.get(served);
    if (!cell) {
      const of = { model: served.name, version: served.version };
      const success = request.bind({ ...of, outcome: "success" });
      cell = {
        success,
        cached: success,
        fail: request.bind({ ...of, outcome: "fail" }),
        queue: queue.bind(of),
        input: input.bind(of),
        infer: infer.bind(of),
        output: output.bind(of),
      };
      cells.set(served, cell);
    }
    cell[outcome].observe(totalNs / 1e9);
    if (outcome === "fail") return;
    cell.queue.observe(queueNs / 1e9);
    if (outcome === "cached") return;
    cell.input.observe(times.inputNs / 1e9);
    cell.infer.observe(times.inferNs / 1e9);
    cell.output.observe(times.outputNs / 1e9);
  };
}

/** Histograms of one model version. */
interface ModelCells {
  readonly success: HistogramCell;
  readonly cached: HistogramCell;
  readonly fail: HistogramCell;
  readonly queue: HistogramCell;
  readonly input: HistogramCell;
  readonly infer: HistogramCell;
  readonly output: HistogramCell;
}

/** Registers the counters and gauges of the models and of the engine that are loaded when metrics are read. */
export function registerModelMetrics(
  registry: Registry,
  repository: Repository,
  sharedBytes: () => number,
): void {
  new Gauge({
    name: "tensorwire_shared_memory_bytes",
    help: "Shared memory held for inputs on their way to worker threads; at most 256 MiB",
    registers: [registry],
    collect() {
      this.set(sharedBytes());
    },
  });
  registerMemoryMetrics(registry, repository);
  for (const [name, help, value] of counters) {
    new Counter({
      name,
      help,
      labelNames: labels,
      registers: [registry],
      collect() {
        this.reset();
        for (const model of repository.known())
          this.inc({ model: model.name, version: model.version }, value(model));
      },
    });
  }
  new Counter({
    name: "nv_inference_request_failure",
    help: "Failed inference requests by Triton's reasons: REJECTED (by the queue), CANCELED, BACKEND (the model), OTHER",
    labelNames: [...labels, "reason"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: model, version, statistics } of repository.known()) {
        // Those that have not happened are there with 0, so that a rate sees the first one.
        for (const reason of tritonFailures) this.inc({ model, version, reason }, 0);
        for (const [reason, count] of statistics.failures)
          this.inc({ model, version, reason: tritonFailure(reason) }, count);
      }
    },
  });
  new Counter({
    name: "tensorwire_inference_failures_total",
    help: "Failed inference requests by the reasons of docs/errors.md",
    labelNames: [...labels, "reason"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: model, version, statistics } of repository.known()) {
        for (const [reason, count] of statistics.failures)
          this.inc({ model, version, reason }, count);
      }
    },
  });
  gauge(
    registry,
    repository,
    "nv_inference_pending_request_count",
    "Requests that wait for their model",
    ({ executor }) => executor.waiting,
  );
  gauge(
    registry,
    repository,
    "tensorwire_model_running_requests",
    "Requests that their model has",
    ({ executor }) => executor.running,
  );
  gauge(
    registry,
    repository,
    "tensorwire_model_queue_limit",
    "Requests that may wait for a model (--max-queue-size)",
    ({ maxQueueSize }) => maxQueueSize,
  );
  registerSequenceMetrics(registry, repository);
  new Gauge({
    name: "tensorwire_model_ready",
    help: "1 for a model version that answers calls, be it once it is back in memory, 0 for one that does not",
    labelNames: labels,
    // Of several workers: whether it answers calls in all of them.
    aggregator: "min",
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: model, version, state } of repository.index()) {
        this.set({ model, version }, answersCalls(state) ? 1 : 0);
      }
    },
  });
}

/** Gauges of models with sequences: name, help, and the value. */
const sequenceGauges: readonly (readonly [string, string, (counts: SequenceCounts) => number])[] = [
  ["tensorwire_sequences_active", "Sequences that have a slot", ({ active }) => active],
  ["tensorwire_sequences_waiting", "Sequences that wait for a slot", ({ waiting }) => waiting],
  ["tensorwire_sequence_slots", "Sequences that can be under way at once", ({ slots }) => slots],
  [
    "tensorwire_sequence_state_bytes",
    "Memory of the states that are kept for sequences",
    ({ stateBytes }) => stateBytes,
  ],
  [
    "tensorwire_sequence_state_limit_bytes",
    "Memory that the states of a model's sequences may take (sequence_state_limit_mib)",
    ({ stateLimitBytes }) => stateLimitBytes,
  ],
];

function registerSequenceMetrics(registry: Registry, repository: Repository): void {
  for (const [name, help, value] of sequenceGauges) {
    new Gauge({
      name,
      help,
      labelNames: labels,
      registers: [registry],
      collect() {
        this.reset();
        for (const { name: model, version, executor } of repository.served()) {
          const { sequences } = executor;
          if (sequences) this.set({ model, version }, value(sequences));
        }
      },
    });
  }
  new Counter({
    name: "tensorwire_sequences_ended_total",
    help: "Sequences that ended, by why: end, restart, idle, cancelled, timeout, lost, refused",
    labelNames: [...labels, "cause"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: model, version, executor } of repository.served()) {
        for (const [cause, count] of Object.entries(executor.sequences?.ends ?? {})) {
          this.inc({ model, version, cause }, count);
        }
      }
    },
  });
}

/** Which models are in memory, and what calls and loads wait for it. */
function registerMemoryMetrics(registry: Registry, repository: Repository): void {
  new Gauge({
    name: "tensorwire_model_memory_limit_bytes",
    help: "Memory that models may take (--model-memory-limit); 0 for any",
    registers: [registry],
    collect() {
      this.set(repository.memoryLimitBytes);
    },
  });
  new Gauge({
    name: "tensorwire_model_memory_bytes",
    help: "Memory that a model version takes, as seen when it was loaded; not there for one that is not in memory",
    labelNames: labels,
    registers: [registry],
    collect() {
      this.reset();
      for (const entry of repository.entries()) {
        for (const { name: model, version, executor } of entry.inMemory())
          this.set({ model, version }, executor.memoryBytes);
      }
    },
  });
  new Gauge({
    name: "tensorwire_model_loading_requests",
    help: "Requests that wait until their model is in memory; at most --max-queue-size",
    labelNames: ["model"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: model, waiting } of repository.entries())
        this.set({ model }, waiting.size);
    },
  });
  new Gauge({
    name: "tensorwire_model_loads_waiting",
    help: "Loads that wait until others are over, with a limit of memory",
    registers: [registry],
    collect() {
      this.set(repository.loadsWaiting);
    },
  });
  new Counter({
    name: "tensorwire_model_recalls_total",
    help: "Loads of a model because calls waited for it",
    labelNames: ["model"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: model, recalls } of repository.entries()) this.inc({ model }, recalls);
    },
  });
  new Counter({
    name: "tensorwire_model_evictions_total",
    help: "Times that a model was taken out of memory to make room for another",
    labelNames: ["model"],
    registers: [registry],
    collect() {
      this.reset();
      for (const { name: model, evictions } of repository.entries()) this.inc({ model }, evictions);
    },
  });
}

function gauge(
  registry: Registry,
  repository: Repository,
  name: string,
  help: string,
  value: (model: ServedModel) => number,
): void {
  new Gauge({
    name,
    help,
    labelNames: labels,
    registers: [registry],
    collect() {
      this.reset();
      for (const model of repository.served())
        this.set({ model: model.name, version: model.version }, value(model));
    },
  });
}

function histogram(registry: Registry, name: string, help: string): BoundHistogram {
  return new BoundHistogram({ name, help, buckets, registry });
}

function us(ns: number): number {
  return Math.round(ns / 1000);
}
