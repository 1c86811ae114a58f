import { isDeepStrictEqual } from "node:util";
import { Worker } from "node:worker_threads";
import { modelLoadFailed, workerLost } from "../../../errors/model-errors.ts";
import { fromPortable } from "../../../errors/portable-error.ts";
import type { GenerationObservation } from "../../../generation/generation-observation.ts";
import {
  createGenerationStatistics,
  type GenerationSnapshot,
  type GenerationStatistics,
} from "../../../generation/generation-statistics.ts";
import { restartDelay } from "../../../lifecycle/restart-delay.ts";
import type {
  FromThread,
  Parameter,
  ThreadData,
  ThreadModel,
  ToThread,
} from "../../../model/thread-messages.ts";
import type { Log } from "../../../observability/log.ts";
import type { InferenceBackend } from "../../../rpc/inference-backend.ts";
import { packTensors, unpackTensor } from "../../../tensor/packed-tensor.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import { linesOf } from "./lines-of.ts";
import { NestedCalls } from "./nested-calls.ts";

/** Time for a thread to end itself, in ms. */
const endTimeoutMs = 5_000;
/** Time after the cancel of a call from which on its thread has to answer, and the time for that, in ms. */
const stuckAfterMs = 10_000;
const pongTimeoutMs = 10_000;

/** Entry files keep the extension of this one: .ts in a checkout, .js in the package. */
const entry = new URL(`../../../model/model-thread${import.meta.url.slice(-3)}`, import.meta.url);

/** How things stand with a text model whose thread has ended. */
const nothingRuns: GenerationObservation = {
  running: 0,
  waiting: 0,
  slots: 0,
  maxWaiting: 0,
  cacheUsage: 0,
  promptTokens: 0,
  generatedTokens: 0,
  timesToFirstToken: [],
  interTokenLatencies: [],
  ended: [],
};

/** What a thread is started with. */
export interface ModelThreadOptions extends ThreadData {
  /** Memory of JavaScript objects in the thread at most, in MiB; above, the thread alone ends. */
  readonly heapLimitMb: number;
  /** Answers the calls that the model makes. */
  readonly backend: () => InferenceBackend;
  readonly log: Log;
}

/** An answer of a call, and the time that it took in the model. */
export interface ThreadAnswer {
  readonly outputs: readonly Tensor[];
  readonly inferNs: number;
}

/** A call for a thread. */
export interface ThreadCall {
  readonly inputs: readonly Tensor[];
  readonly outputNames: readonly string[];
  readonly parameters: Readonly<Record<string, Parameter>>;
}

/** Told of a call's answers and of its one end. */
interface Listener {
  answer(answer: ThreadAnswer): void;
  ended(inferNs: number): void;
  failed(error: Error): void;
}

/** What becomes of a thread. */
export type ThreadChange = "lost" | "back";

/** A call that a thread has. */
export interface CallInThread {
  /** Tells the model that nobody waits any more. The call ends when the model ends it. */
  cancel(): void;
  /** An answer of a decoupled call was taken; another may come. */
  more(): void;
}

/**
 * A model in TypeScript in a thread of its own. If the thread ends, its calls fail with `WORKER_LOST` and it
 * is started again with growing waits. A thread that does not answer for long after a cancel is ended.
 */
export class ModelThread {
  readonly #options: ModelThreadOptions;
  readonly #calls = new Map<number, Listener>();
  #worker: Worker | undefined;
  #nested: NestedCalls | undefined;
  #model: ThreadModel | undefined;
  #ready = false;
  #closed = false;
  #nextId = 1;
  /** Ends of the thread in a row, without an answer in between. */
  #failures = 0;
  #restart: NodeJS.Timeout | undefined;
  #pong: NodeJS.Timeout | undefined;
  #onChange: (state: ThreadChange) => void = () => {};
  #onLoaded: ((why: string | undefined) => void) | undefined;
  /** Of a text model; they go on when the thread is started again. */
  #generations: GenerationStatistics | undefined;

  private constructor(options: ModelThreadOptions) {
    this.#options = options;
  }

  /**
   * Starts the thread and loads the model.
   *
   * @throws TensorwireError `MODEL_LOAD_FAILED` with what the module or its `load` threw
   */
  static async start(options: ModelThreadOptions): Promise<ModelThread> {
    const thread = new ModelThread(options);
    const why = await thread.#start();
    if (why === undefined) return thread;
    await thread.close();
    throw modelLoadFailed(options.name, why);
  }

  /** What the model's definition says. */
  get model(): ThreadModel {
    return this.#model!;
  }

  /** False while the thread is started again. */
  get isReady(): boolean {
    return this.#ready;
  }

  /** What a text model in it has generated; `undefined` of another model. */
  get generations(): GenerationSnapshot | undefined {
    return this.#generations?.snapshot();
  }

  /** Sets who is told when the thread ends, with its calls and all that it knew, and when it is back. */
  onChange(listener: (state: ThreadChange) => void): void {
    this.#onChange = listener;
  }

  /** Calls that it has. */
  get calls(): number {
    return this.#calls.size;
  }

  /**
   * Gives the model a call.
   *
   * @throws TensorwireError `WORKER_LOST` while the thread is started again
   */
  begin({ inputs, outputNames, parameters }: ThreadCall, listener: Listener): CallInThread {
    if (!this.#ready) throw workerLost(this.#options.name);
    const id = this.#nextId++;
    const { packed, transfer } = packTensors(inputs, "borrowed");
    this.#calls.set(id, listener);
    this.#post({ kind: "infer", id, inputs: packed, outputNames, parameters }, transfer);
    let stuck: NodeJS.Timeout | undefined;
    return {
      cancel: () => {
        if (!this.#calls.has(id) || stuck) return;
        this.#post({ kind: "cancel", id });
        stuck = setTimeout(() => this.#ping(id), stuckAfterMs);
        stuck.unref();
      },
      more: () => {
        if (this.#calls.has(id)) this.#post({ kind: "more", id });
      },
    };
  }

  /** Ends the thread for good, after its model's `unload`. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restart);
    const worker = this.#worker;
    if (!worker) return;
    const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
    this.#post({ kind: "end" });
    const timer = setTimeout(() => void worker.terminate(), endTimeoutMs);
    await exited;
    clearTimeout(timer);
  }

  /** @returns why it did not load */
  #start(): Promise<string | undefined> {
    const { heapLimitMb, backend, log, name, version, path, folder, parameters } = this.#options;
    const workerData: ThreadData = { name, version, path, folder, parameters };
    const worker = new Worker(entry, {
      name: `model ${name}`,
      workerData,
      resourceLimits: { maxOldGenerationSizeMb: heapLimitMb },
      stdout: true,
      stderr: true,
    });
    this.#worker = worker;
    const nested = new NestedCalls(backend, (message) => worker.postMessage(message));
    this.#nested = nested;
    linesOf(worker.stdout, (line) => log.info({ model: name, version }, line));
    linesOf(worker.stderr, (line) => log.warn({ model: name, version }, line));
    worker.on("message", (message: FromThread) => this.#take(message));
    let failure: Error | undefined;
    worker.on("error", (error) => {
      failure = error instanceof Error ? error : new Error(String(error));
    });
    worker.on("exit", (code) => {
      nested.close();
      this.#exited(code, failure);
    });
    return new Promise((resolve) => {
      this.#onLoaded = resolve;
    });
  }

  #post(message: ToThread, transfer: ArrayBuffer[] = []): void {
    this.#worker?.postMessage(message, transfer);
  }

  #take(message: FromThread): void {
    const { log, name, version } = this.#options;
    switch (message.kind) {
      case "loaded":
        this.#loaded(message.model);
        break;
      case "unloadable":
        this.#loadEnded(message.why);
        break;
      case "answer":
        this.#failures = 0;
        this.#calls.get(message.id)?.answer({
          outputs: message.outputs.map(unpackTensor),
          inferNs: message.inferNs,
        });
        // One that is not decoupled has no other end.
        if (!this.model.decoupled) this.#calls.delete(message.id);
        break;
      case "answered":
        this.#end(message.id)?.ended(message.inferNs);
        break;
      case "failed":
        this.#failures = 0;
        this.#end(message.id)?.failed(fromPortable(message.error));
        break;
      case "generated":
        this.#generations ??= createGenerationStatistics();
        this.#generations.add(message.observation);
        break;
      case "pong":
        clearTimeout(this.#pong);
        this.#pong = undefined;
        break;
      case "log":
        log[message.level]({ ...message.fields, model: name, version }, message.message);
        break;
      default:
        this.#nested?.take(message);
    }
  }

  #end(id: number): Listener | undefined {
    const call = this.#calls.get(id);
    this.#calls.delete(id);
    return call;
  }

  #loaded(model: ThreadModel): void {
    if (this.#model && !isDeepStrictEqual(this.#model, model)) {
      this.#loadEnded("its inputs, outputs or limits have changed; load the model again");
      void this.#worker?.terminate();
      return;
    }
    this.#model = model;
    this.#ready = true;
    this.#onChange("back");
    this.#loadEnded(undefined);
  }

  #loadEnded(why: string | undefined): void {
    const listener = this.#onLoaded;
    this.#onLoaded = undefined;
    listener?.(why);
  }

  /** Asks a thread for a sign of life, and ends it without one. */
  #ping(id: number): void {
    if (!this.#calls.has(id) || this.#pong) return;
    this.#post({ kind: "ping" });
    this.#pong = setTimeout(() => {
      const { log, name, version } = this.#options;
      log.error(
        { model: name, version, ms: stuckAfterMs + pongTimeoutMs },
        "the thread of a model did not answer after the cancel of a call; it is ended",
      );
      void this.#worker?.terminate();
    }, pongTimeoutMs);
    this.#pong.unref();
  }

  #exited(code: number, failure: Error | undefined): void {
    const { log, name, version } = this.#options;
    clearTimeout(this.#pong);
    this.#pong = undefined;
    this.#worker = undefined;
    this.#generations?.add(nothingRuns);
    const wasReady = this.#ready;
    this.#ready = false;
    for (const { failed } of this.#calls.values()) failed(workerLost(name));
    this.#calls.clear();
    if (wasReady) this.#onChange("lost");
    this.#loadEnded(`its thread ended with code ${code}${failure ? `: ${failure.message}` : ""}`);
    // One that never loaded is its loader's matter.
    if (this.#closed || !this.#model) return;
    const retryMs = restartDelay(++this.#failures, Math.random());
    log.error(
      { model: name, version, code, stack: failure?.stack, retryMs },
      wasReady
        ? "the thread of a model ended; it is started again"
        : "the thread of a model did not start again; it is tried once more",
    );
    this.#restart = setTimeout(() => void this.#again(), retryMs);
    this.#restart.unref();
  }

  async #again(): Promise<void> {
    const { log, name, version } = this.#options;
    const worker = this.#start();
    const why = await worker;
    if (why === undefined) {
      log.info({ model: name, version }, "the thread of a model is back");
      return;
    }
    log.error({ model: name, version, why }, "a model did not load again after its thread ended");
    void this.#worker?.terminate();
  }
}
