import type { Log } from "../../../observability/log.ts";
import { type Tensor, tensorByteLength } from "../../../tensor/tensor.ts";
import type { EngineModel, EngineResult } from "../engine.ts";
import type { GraphPort } from "./graph-plan.ts";
import { OnnxSession, type OnnxSessionOptions } from "./onnx-session.ts";
import { inlineByteLimit, type WarmUpSample } from "./placement.ts";
import { RemoteInstances } from "./remote-instances.ts";
import type { WorkerPool } from "./worker-pool.ts";

/** Where calls may run: in the thread of the sockets, in a worker thread, or as measured. */
export type Execution = "auto" | "inline" | "worker";

/**
 * Longest time for which one call may hold up the thread of the sockets, in ns. One that takes longer
 * shows that the time does not grow with the size as warm-up foretold.
 */
const slowestInlineNs = 2_000_000;

/**
 * What the moving mean of the times of inline calls takes of each, and the most that one call counts,
 * in times of what is too slow: a collection of garbage can hold up any call.
 */
const meanShare = 1 / 16;
const mostOfOneCall = 8;

/** Bounds of the measurement of one warm-up sample: runs, and time in ms from which on none is added. */
const maxWarmUpRuns = 50;
const maxWarmUpMs = 50;

/** Measurements of different models wait for each other: they would measure one another. */
let measuring: Promise<unknown> = Promise.resolve();

/**
 * An ONNX model. It is opened in a worker thread, so that loading holds up nobody. If warm-up shows
 * that small calls take less time than the hop to the worker and back, a second session is opened in
 * the thread of the sockets for those.
 */
export class OnnxModel implements EngineModel {
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  readonly #options: OnnxSessionOptions;
  readonly #execution: Execution;
  readonly #log: Log;
  readonly #remotes: RemoteInstances;
  readonly #slowestInlineNs: number;
  #inline: OnnxSession | undefined;
  /** Input bytes up to which a call runs inline. */
  #inlineBytes = 0;
  /** Moving mean of the times of inline calls. */
  #meanNs = 0;

  private constructor(
    options: OnnxSessionOptions,
    execution: Execution,
    log: Log,
    remotes: RemoteInstances,
    slowest: number,
  ) {
    this.inputs = remotes.inputs;
    this.outputs = remotes.outputs;
    this.#options = options;
    this.#execution = execution;
    this.#log = log;
    this.#remotes = remotes;
    this.#slowestInlineNs = slowest;
  }

  /**
   * Opens the model in workers of the pool.
   *
   * @param instances - sessions, each in a worker of its own
   * @param slowest - time of an inline call, in ns, above which the model leaves the thread of the
   * sockets for good
   */
  static async load(
    pool: WorkerPool,
    options: OnnxSessionOptions,
    instances: number,
    execution: Execution,
    log: Log,
    slowest = slowestInlineNs,
  ): Promise<OnnxModel> {
    const remotes = new RemoteInstances(await pool.load(options, instances));
    return new OnnxModel(options, execution, log, remotes, slowest);
  }

  get instances(): number {
    return this.#remotes.count;
  }

  get memoryBytes(): number {
    return this.#remotes.memoryBytes;
  }

  get placement(): string {
    if (!this.#inline) return this.instances === 1 ? "worker" : `${this.instances} workers`;
    return this.#inlineBytes === Number.POSITIVE_INFINITY
      ? "inline"
      : `inline up to ${this.#inlineBytes} bytes, else worker`;
  }

  /**
   * Runs each sample of inputs, in rising size, and places the model by what was measured.
   *
   * @throws TensorwireError what the first run threw
   */
  async warmUp(samples: readonly (readonly Tensor[])[]): Promise<readonly Tensor[]> {
    const outputNames = this.outputs.map((output) => output.name);
    const [first] = samples;
    if (!first) throw new Error("warm-up needs a sample");
    const { outputs } = await this.#remotes.run(first, outputNames);
    if (this.#execution === "auto" && this.#remotes.timeFollowsSize) {
      const placed = measuring.then(() => this.#place(samples, outputNames));
      // The next model is measured whatever became of this one.
      measuring = placed.catch(() => undefined);
      await placed;
    }
    if (this.#execution === "inline") await this.#openInline(Number.POSITIVE_INFINITY);
    return outputs;
  }

  async run(inputs: readonly Tensor[], outputNames: readonly string[]): Promise<EngineResult> {
    return this.runNow(inputs, outputNames) ?? this.#remotes.run(inputs, outputNames);
  }

  runNow(inputs: readonly Tensor[], outputNames: readonly string[]): EngineResult | undefined {
    const inline = this.#inline;
    if (!inline || inputBytes(inputs) > this.#inlineBytes) return undefined;
    const result = inline.run(inputs, outputNames);
    if (this.#execution === "auto") this.#judgeInline(result.inferNs);
    return result;
  }

  async release(): Promise<void> {
    this.#inline?.release();
    this.#inline = undefined;
    await this.#remotes.release();
  }

  async #place(
    samples: readonly (readonly Tensor[])[],
    outputNames: readonly string[],
  ): Promise<void> {
    const measured: WarmUpSample[] = [];
    for (const inputs of samples) {
      // The fastest run is the one that was disturbed least, by other threads and by cold code.
      let inferNs = Number.POSITIVE_INFINITY;
      let totalNs = Number.POSITIVE_INFINITY;
      const begun = performance.now();
      for (let run = 0; run < maxWarmUpRuns && performance.now() - begun < maxWarmUpMs; run++) {
        const started = performance.now();
        const result = await this.#remotes.run(inputs, outputNames);
        totalNs = Math.min(totalNs, (performance.now() - started) * 1e6);
        inferNs = Math.min(inferNs, result.inferNs);
      }
      measured.push({ bytes: inputBytes(inputs), inferNs, totalNs });
      // A model that is slow on its smallest input is not tried on larger ones.
      if (inlineByteLimit(measured) === 0) break;
    }
    const limit = inlineByteLimit(measured);
    this.#log.debug(
      { model: this.#options.model, measured, inlineBytes: limit },
      "placed a model by its warm-up",
    );
    if (limit > 0) await this.#openInline(limit);
  }

  /**
   * Takes the model off this thread when calls are slow again and again. One alone says little: a
   * collection of garbage or another process may have held up the thread.
   */
  #judgeInline(inferNs: number): void {
    const slowest = this.#slowestInlineNs;
    this.#meanNs += (Math.min(inferNs, mostOfOneCall * slowest) - this.#meanNs) * meanShare;
    if (this.#meanNs > slowest) this.#leaveInline(inferNs);
  }

  /** Sends every further call to the worker. */
  #leaveInline(inferNs: number): void {
    const inline = this.#inline;
    // Of calls that were under way together only the first finds the session.
    if (!inline) return;
    this.#inline = undefined;
    this.#log.info(
      { model: this.#options.model, ms: Math.round(inferNs / 1e6) },
      "calls took longer than warm-up foretold; the model runs in its worker from now on",
    );
    inline.release();
  }

  async #openInline(bytes: number): Promise<void> {
    const inline = await OnnxSession.load({ ...this.#options, intraOpThreads: 1 });
    this.#inlineBytes = bytes;
    this.#inline = inline;
  }
}

function inputBytes(inputs: readonly Tensor[]): number {
  let total = 0;
  for (const input of inputs) total += tensorByteLength(input);
  return total;
}
