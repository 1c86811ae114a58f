import { setImmediate as nextTurn } from "node:timers/promises";
import type { Log } from "../../../observability/log.ts";
import { type Tensor, tensorByteLength } from "../../../tensor/tensor.ts";
import type { EngineModel, EngineResult } from "../engine.ts";
import { measureGrowth } from "../memory-growth.ts";
import { providerText } from "./execution-providers.ts";
import type { GraphCacheReport } from "./graph-cache.ts";
import type { GraphPort } from "./graph-plan.ts";
import { InlineJudge, slowestInlineNs } from "./inline-judge.ts";
import { prepareRuntime } from "./native-session.ts";
import { OnnxSession, type OnnxSessionOptions } from "./onnx-session.ts";
import {
  briefByteLimit,
  isPlaced,
  placedByteLimit,
  usualHopNs,
  type WarmUpSample,
} from "./placement.ts";
import { RemoteInstances } from "./remote-instances.ts";
import { cpuSettings, type SessionSettings } from "./session-settings.ts";
import { readSmallModel } from "./small-model.ts";
import type { WorkerPool } from "./worker-pool.ts";

/** Where calls may run: in the thread of the sockets, in a worker thread, or as measured. */
export type Execution = "auto" | "inline" | "worker";

/** Bounds of the measurement of one warm-up sample: runs, and time in ms from which on none is added. */
const maxWarmUpRuns = 50;
const maxWarmUpMs = 50;

/**
 * Time in ms from which on no run of a sample is added where the thread of the sockets runs it, if the
 * fastest took longer than the other, in ns. One that may belong there has all its runs: the first are
 * slow, with code that was not compiled yet, and on a busy machine the time may be over with them.
 */
const maxInlineMs = 3;
const doubtlessNs = 200_000;

/** Runs of each further sample: its outputs are garbage, and the rows of the last are thousands. */
const furtherInlineRuns = 8;

/** Calls of up to 1 ms that are computed in the thread of the sockets before a worker is opened for such. */
const briefCallsForWorker = 64;

/**
 * A sample that would take longer than this, in ns, is left out there; the samples of warm-up-samples.ts
 * grow this many times.
 */
const longestSampleNs = 20_000_000;
const furtherSampleTimes = 64;

/** Measurements of different models wait for each other: they would measure one another. */
let measuring: Promise<unknown> = Promise.resolve();

/** What opening an ONNX model takes. */
export interface OnnxModelOptions {
  readonly session: Omit<OnnxSessionOptions, "settings">;
  /** One for each session, at least one; each session has a worker of its own. */
  readonly instances: readonly SessionSettings[];
  readonly execution: Execution;
  /** Processor cores that the process may use; several without it. */
  readonly cores?: number;
  /** Told of each look into the graph cache. */
  readonly onGraphCache?: (report: GraphCacheReport) => void;
  /** Says when the model leaves the thread of the sockets for good; 2 ms a call without it. */
  readonly judge?: InlineJudge;
}

/**
 * An ONNX model. It is opened in a worker thread, so that loading holds up nobody. If warm-up shows
 * that small calls take less time than the hop to the worker and back, a second session is opened in
 * the thread of the sockets for those.
 *
 * A model whose file shows that it is small goes the other way round: it is opened and measured in the
 * thread of the sockets, and a worker is asked for it when a call comes that does not belong there. A
 * server with small models alone has no worker then, which saves 20 MB and a third of the start.
 */
export class OnnxModel implements EngineModel {
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  readonly gpus: readonly number[];
  readonly isDeterministic: boolean;
  readonly #options: OnnxModelOptions["session"];
  readonly #settings: readonly SessionSettings[];
  /** Whether all nodes run on the CPU. */
  readonly #onCpu: boolean;
  readonly #execution: Execution;
  readonly #cores: number;
  readonly #log: Log;
  readonly #pool: WorkerPool;
  readonly #judge: InlineJudge;
  readonly #onGraphCache: OnnxModelOptions["onGraphCache"];
  readonly #timeFollowsSize: boolean;
  /** Sessions in workers; `undefined` until they are needed. */
  #remotes: Promise<RemoteInstances> | undefined;
  #remoteBytes = 0;
  #inline: OnnxSession | undefined;
  /** Input bytes up to which a call runs inline. */
  #inlineBytes = 0;
  #inlineMemoryBytes = 0;
  /** Memory that the process was seen to take for the first run of each session. */
  #runMemoryBytes = 0;
  /** Input bytes up to which a call takes 1 ms, and how many that belong in a worker ran here. */
  #briefBytes = 0;
  #briefCalls = 0;
  #workersOpen = false;

  private constructor(
    pool: WorkerPool,
    {
      session,
      instances,
      execution,
      cores = Number.POSITIVE_INFINITY,
      onGraphCache,
      judge = new InlineJudge(slowestInlineNs),
    }: OnnxModelOptions,
    log: Log,
    declared: Pick<OnnxSession, "inputs" | "outputs" | "timeFollowsSize" | "isDeterministic">,
  ) {
    this.inputs = declared.inputs;
    this.outputs = declared.outputs;
    this.#timeFollowsSize = declared.timeFollowsSize;
    this.#settings = instances;
    const providers = instances.flatMap((each) => each.providers);
    this.#onCpu = providers.length === 0;
    this.gpus = [...new Set(providers.map(({ device }) => device))];
    this.isDeterministic = declared.isDeterministic;
    this.#options = session;
    this.#execution = execution;
    this.#cores = cores;
    this.#log = log;
    this.#pool = pool;
    this.#judge = judge;
    this.#onGraphCache = onGraphCache;
  }

  /**
   * Opens the model.
   *
   * @throws TensorwireError `MODEL_LOAD_FAILED`, `MODEL_UNSUPPORTED`
   */
  static async load(pool: WorkerPool, options: OnnxModelOptions, log: Log): Promise<OnnxModel> {
    const { session, instances, execution } = options;
    if (execution === "auto" && instances.length === 1 && instances[0]?.providers.length === 0) {
      const contents = await readSmallModel(session.path);
      if (contents) {
        const held = { ...options, session: { ...session, contents } };
        return OnnxModel.#loadInline(pool, held, log);
      }
    }
    if (execution === "inline") return OnnxModel.#loadInline(pool, options, log);
    const sessions = instances.map((settings) => ({ ...session, settings }));
    const remotes = new RemoteInstances(await pool.load(sessions));
    const model = new OnnxModel(pool, options, log, remotes);
    for (const report of remotes.graphCache) options.onGraphCache?.(report);
    model.#remotes = Promise.resolve(remotes);
    model.#remoteBytes = remotes.memoryBytes;
    model.#workersOpen = true;
    return model;
  }

  static async #loadInline(
    pool: WorkerPool,
    options: OnnxModelOptions,
    log: Log,
  ): Promise<OnnxModel> {
    // What the runtime takes for itself is no model's.
    prepareRuntime();
    const [settings = cpuSettings] = options.instances;
    const { value: inline, bytes } = await measureGrowth(() =>
      OnnxSession.load({ ...options.session, settings, intraOpThreads: 1 }),
    );
    const model = new OnnxModel(pool, options, log, inline);
    if (inline.graphCache) options.onGraphCache?.(inline.graphCache);
    model.#inline = inline;
    model.#inlineMemoryBytes = Math.max(bytes, inline.fileBytes);
    if (options.execution === "inline") model.#inlineBytes = Number.POSITIVE_INFINITY;
    return model;
  }

  get instances(): number {
    return this.#settings.length;
  }

  get memoryBytes(): number {
    return this.#remoteBytes + this.#inlineMemoryBytes + this.#runMemoryBytes;
  }

  get placement(): string {
    if (!this.#inline || this.#inlineBytes === 0) {
      const workers = this.instances === 1 ? "worker" : `${this.instances} workers`;
      const providers = this.#settings.flatMap((each) => each.providers.map(providerText));
      return this.#onCpu ? workers : `${workers} on ${[...new Set(providers)].join(", ")}`;
    }
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
    const inline = this.#inline;
    const remotes = inline ? undefined : await this.#workers();
    const { value, bytes } = await measureGrowth(() =>
      inline ? this.#runFirst(inline, first, outputNames) : remotes!.run(first, outputNames),
    );
    const { outputs } = value;
    this.#runMemoryBytes = bytes * this.instances;
    if (this.#execution === "auto" && this.#timeFollowsSize && this.#onCpu) {
      const placed = measuring.then(() =>
        inline
          ? this.#placeByInline(inline, samples, outputNames)
          : this.#placeByWorker(samples, outputNames),
      );
      // The next model is measured whatever became of this one.
      measuring = placed.catch(() => undefined);
      await placed;
    }
    return outputs;
  }

  async run(inputs: readonly Tensor[], outputNames: readonly string[]): Promise<EngineResult> {
    return (
      this.runNow(inputs, outputNames) ??
      this.#runBriefly(inputs, outputNames) ??
      (await this.#workers()).run(inputs, outputNames)
    );
  }

  runNow(inputs: readonly Tensor[], outputNames: readonly string[]): EngineResult | undefined {
    const inline = this.#inline;
    if (!inline || inputBytes(inputs) > this.#inlineBytes) return undefined;
    const begun = this.#judge.begin();
    const result = inline.run(inputs, outputNames);
    const slow = this.#execution === "auto" && this.#judge.tooSlow(result.inferNs, begun);
    if (slow) this.#leaveInline(result.inferNs);
    return result;
  }

  async release(): Promise<void> {
    this.#inline?.release();
    this.#inline = undefined;
    // Sessions that could not be opened need no release.
    const remotes = await this.#remotes?.catch(() => undefined);
    await remotes?.release();
  }

  /**
   * Computes here what belongs in a worker while there is none: a call that takes no longer than 1 ms need
   * not wait until a thread has started. When such calls come again and again, one is.
   */
  #runBriefly(inputs: readonly Tensor[], outputNames: readonly string[]): EngineResult | undefined {
    const inline = this.#inline;
    if (!inline || this.#workersOpen || inputBytes(inputs) > this.#briefBytes) return undefined;
    // Who waits for the worker hears why there is none.
    if (++this.#briefCalls >= briefCallsForWorker) void this.#workers().catch(() => undefined);
    return inline.run(inputs, outputNames);
  }

  /** A model of which nothing was measured runs in a worker. */
  #runFirst(
    inline: OnnxSession,
    inputs: readonly Tensor[],
    outputNames: readonly string[],
  ): EngineResult {
    try {
      return inline.run(inputs, outputNames);
    } catch (error) {
      if (this.#execution === "auto") this.#closeInline(inline);
      throw error;
    }
  }

  #closeInline(inline: OnnxSession): void {
    this.#inline = undefined;
    this.#inlineMemoryBytes = 0;
    inline.release();
  }

  /** The sessions in workers, which are opened if there are none yet. */
  #workers(): Promise<RemoteInstances> {
    this.#remotes ??= this.#openWorkers();
    return this.#remotes;
  }

  async #openWorkers(): Promise<RemoteInstances> {
    try {
      const sessions = this.#settings.map((settings) => ({ ...this.#options, settings }));
      const remotes = new RemoteInstances(await this.#pool.load(sessions));
      for (const report of remotes.graphCache) this.#onGraphCache?.(report);
      this.#remoteBytes = remotes.memoryBytes;
      this.#workersOpen = true;
      return remotes;
    } catch (error) {
      // The next call tries again.
      this.#remotes = undefined;
      throw error;
    }
  }

  /** Measures the session of this thread, with the event loop in between. */
  async #placeByInline(
    inline: OnnxSession,
    samples: readonly (readonly Tensor[])[],
    outputNames: readonly string[],
  ): Promise<void> {
    const measured: WarmUpSample[] = [];
    for (const inputs of samples) {
      let inferNs = Number.POSITIVE_INFINITY;
      const begun = performance.now();
      const runs = measured.length === 0 ? maxWarmUpRuns : furtherInlineRuns;
      for (let run = 0; run < runs; run++) {
        const isSlow = run > 0 && inferNs > doubtlessNs;
        if (isSlow && performance.now() - begun > maxInlineMs) break;
        inferNs = Math.min(inferNs, inline.run(inputs, outputNames).inferNs);
      }
      const bytes = inputBytes(inputs);
      measured.push({ bytes, inferNs, totalNs: inferNs + usualHopNs(bytes) });
      await nextTurn();
      if (isPlaced(this.#cores, measured)) break;
      // The further samples have 64 times the rows of the one before.
      if (inferNs * furtherSampleTimes > longestSampleNs) break;
    }
    const limit = placedByteLimit(this.#cores, measured);
    this.#logPlaced(measured, limit);
    if (limit > 0) {
      this.#inlineBytes = limit;
      this.#briefBytes = briefByteLimit(measured);
      return;
    }
    this.#closeInline(inline);
    await this.#workers();
  }

  async #placeByWorker(
    samples: readonly (readonly Tensor[])[],
    outputNames: readonly string[],
  ): Promise<void> {
    const measured: WarmUpSample[] = [];
    const remotes = await this.#workers();
    for (const inputs of samples) {
      // The fastest run is the one that was disturbed least, by other threads and by cold code.
      let inferNs = Number.POSITIVE_INFINITY;
      let totalNs = Number.POSITIVE_INFINITY;
      const begun = performance.now();
      for (let run = 0; run < maxWarmUpRuns && performance.now() - begun < maxWarmUpMs; run++) {
        const started = performance.now();
        const result = await remotes.run(inputs, outputNames);
        totalNs = Math.min(totalNs, (performance.now() - started) * 1e6);
        inferNs = Math.min(inferNs, result.inferNs);
      }
      measured.push({ bytes: inputBytes(inputs), inferNs, totalNs });
      // A model that is slow on its smallest input is not tried on larger ones.
      if (isPlaced(this.#cores, measured)) break;
    }
    const limit = placedByteLimit(this.#cores, measured);
    this.#logPlaced(measured, limit);
    if (limit > 0) await this.#openInline(limit);
  }

  #logPlaced(measured: readonly WarmUpSample[], inlineBytes: number): void {
    const { model } = this.#options;
    this.#log.debug({ model, measured, inlineBytes }, "placed a model by its warm-up");
  }

  /** Sends every further call to the worker. */
  #leaveInline(inferNs: number): void {
    const inline = this.#inline;
    // Of calls that were under way together only the first finds the session.
    if (!inline) return;
    this.#log.info(
      { model: this.#options.model, ms: Math.round(inferNs / 1e6) },
      "calls took longer than warm-up foretold; the model runs in its worker from now on",
    );
    this.#closeInline(inline);
  }

  async #openInline(bytes: number): Promise<void> {
    const [settings = cpuSettings] = this.#settings;
    const { value: inline, bytes: grown } = await measureGrowth(() =>
      OnnxSession.load({ ...this.#options, settings, intraOpThreads: 1 }),
    );
    this.#inlineMemoryBytes = Math.max(grown, inline.fileBytes);
    if (inline.graphCache) this.#onGraphCache?.(inline.graphCache);
    this.#inlineBytes = bytes;
    this.#inline = inline;
  }
}

function inputBytes(inputs: readonly Tensor[]): number {
  let total = 0;
  for (const input of inputs) total += tensorByteLength(input);
  return total;
}
