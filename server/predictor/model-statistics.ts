import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ModelStatisticsSchema } from "../../gen/inference/grpc_service_pb.ts";
import { Duration } from "./duration.ts";

/** Times of one execution, in ns. */
export interface ExecutionTimes {
  readonly inputNs: number;
  readonly inferNs: number;
  readonly outputNs: number;
}

/** Counts of one model version since it was loaded (Triton's statistics extension). */
export class ModelStatistics {
  readonly success: Duration = new Duration();
  readonly fail: Duration = new Duration();
  readonly queue: Duration = new Duration();
  readonly computeInput: Duration = new Duration();
  readonly computeInfer: Duration = new Duration();
  readonly computeOutput: Duration = new Duration();
  /** Calls that found an answer in the cache, or a run under way for an equal call; the time to look it up. */
  readonly cacheHit: Duration = new Duration();
  /** Calls that had to run though answers are cached; the time to look up, and to keep what came out. */
  readonly cacheMiss: Duration = new Duration();
  /** Failed calls by reason of the registry. */
  readonly failures: Map<string, number> = new Map();
  /** Rows computed. */
  inferenceCount = 0;
  /** Runs of the model; a batch is one. */
  executionCount = 0;
  /** Unix time of the last call, in ms; 0 for none. */
  lastInferenceMs = 0;
  readonly #batches = new Map<number, { input: Duration; infer: Duration; output: Duration }>();

  /** Counts a call of so many rows that was answered; its times are those of the run that it shared. */
  succeed(rows: number, totalNs: number, queueNs: number, times: ExecutionTimes): void {
    this.success.add(totalNs);
    this.queue.add(queueNs);
    this.computeInput.add(times.inputNs);
    this.computeInfer.add(times.inferNs);
    this.computeOutput.add(times.outputNs);
    this.inferenceCount += rows;
    this.lastInferenceMs = Date.now();
  }

  /** Counts a call that was answered without a run of its own: it computed no row. */
  succeedFromCache(totalNs: number, queueNs: number): void {
    this.success.add(totalNs);
    this.queue.add(queueNs);
    this.lastInferenceMs = Date.now();
  }

  /** Counts a run of the model, of so many rows of one or several calls. */
  executed(rows: number, times: ExecutionTimes): void {
    this.executionCount++;
    let batch = this.#batches.get(rows);
    if (!batch) {
      // A client chooses the batch size: above this many sizes, new ones are not told apart.
      if (this.#batches.size >= maxBatchSizes) return;
      batch = { input: new Duration(), infer: new Duration(), output: new Duration() };
      this.#batches.set(rows, batch);
    }
    batch.input.add(times.inputNs);
    batch.infer.add(times.inferNs);
    batch.output.add(times.outputNs);
  }

  /** Counts a call that failed. */
  failed(reason: string, totalNs: number): void {
    this.fail.add(totalNs);
    this.failures.set(reason, (this.failures.get(reason) ?? 0) + 1);
    this.lastInferenceMs = Date.now();
  }

  /**
   * @param memoryBytes - what the model takes; 0 if it is not in memory, or that is not known
   */
  toMessage(
    name: string,
    version: string,
    memoryBytes: number,
  ): MessageInitShape<typeof ModelStatisticsSchema> {
    return {
      name,
      version,
      lastInference: BigInt(this.lastInferenceMs),
      inferenceCount: BigInt(this.inferenceCount),
      executionCount: BigInt(this.executionCount),
      inferenceStats: {
        success: this.success.toMessage(),
        fail: this.fail.toMessage(),
        queue: this.queue.toMessage(),
        computeInput: this.computeInput.toMessage(),
        computeInfer: this.computeInfer.toMessage(),
        computeOutput: this.computeOutput.toMessage(),
        cacheHit: this.cacheHit.toMessage(),
        cacheMiss: this.cacheMiss.toMessage(),
      },
      memoryUsage:
        memoryBytes > 0 ? [{ type: "CPU", id: 0n, byteSize: BigInt(Math.round(memoryBytes)) }] : [],
      batchStats: [...this.#batches]
        .sort(([a], [b]) => a - b)
        .map(([size, { input, infer, output }]) => ({
          batchSize: BigInt(size),
          computeInput: input.toMessage(),
          computeInfer: infer.toMessage(),
          computeOutput: output.toMessage(),
        })),
    };
  }
}

/** Batch sizes that are counted apart. */
const maxBatchSizes = 256;
