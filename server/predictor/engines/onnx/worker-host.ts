import { once } from "node:events";
import { Worker } from "node:worker_threads";
import { workerLost } from "../../../errors/model-errors.ts";
import { fromPortable } from "../../../errors/portable-error.ts";
import { restartDelay } from "../../../lifecycle/restart-delay.ts";
import type { Log } from "../../../observability/log.ts";
import { packTensors, unpackTensor } from "../../../tensor/packed-tensor.ts";
import type { Tensor } from "../../../tensor/tensor.ts";
import type { EngineResult } from "../engine.ts";
import { openMeasurements } from "../memory-growth.ts";
import type { GraphCacheReport } from "./graph-cache.ts";
import type { GraphPort } from "./graph-plan.ts";
import type { OnnxSessionOptions } from "./onnx-session.ts";
import { leastSharedBytes, type SharedBuffers } from "./shared-buffers.ts";
import type { WorkerAnswer, WorkerRequest } from "./worker-messages.ts";

/** A session in a worker thread, seen from the main thread. */
export interface RemoteSession {
  readonly inputs: readonly GraphPort[];
  readonly outputs: readonly GraphPort[];
  /** False if the values of an input may decide how long a run takes. */
  readonly timeFollowsSize: boolean;
  /** False if equal inputs may give different outputs. */
  readonly isDeterministic: boolean;
  /** Memory that the process was seen to take for it, in bytes. */
  readonly memoryBytes: number;
  /** What the graph cache had to do with it; `undefined` if it was not asked. */
  readonly graphCache: GraphCacheReport | undefined;
  /** False while its thread is started again. */
  readonly isReady: boolean;
  run(inputs: readonly Tensor[], outputNames: readonly string[]): Promise<EngineResult>;
  release(): Promise<void>;
}

interface Pending {
  readonly model: string;
  readonly resolve: (answer: WorkerAnswer) => void;
  readonly reject: (error: Error) => void;
}

type RequestBody<K extends WorkerRequest["kind"]> = Omit<
  Extract<WorkerRequest, { kind: K }>,
  "id" | "kind"
>;

/** Entry files keep the extension of this one: .ts in a checkout, .js in the package. */
const entry = new URL(`./worker-entry${import.meta.url.slice(-3)}`, import.meta.url);

/** Time for a thread to end itself, in ms. */
const endTimeoutMs = 5_000;

/**
 * One worker thread with any number of sessions. If the thread ends, its calls fail with
 * `WORKER_LOST`, it is started again with growing waits, and its sessions are loaded again.
 */
export class WorkerHost {
  /** Sessions placed here, for choosing the emptiest worker. */
  sessionCount = 0;
  #worker: Worker | undefined;
  #nextId = 1;
  #nextSession = 1;
  /** Ends of the thread in a row, without its sessions loaded in between. */
  #failures = 0;
  #restartTimer: NodeJS.Timeout | undefined;
  #closed = false;
  readonly #pending = new Map<number, Pending>();
  readonly #sessions = new Map<number, OnnxSessionOptions>();
  readonly #ready = new Set<number>();
  #onRestarted: (() => void)[] = [];
  readonly #buffers: SharedBuffers;
  readonly #log: Log;

  /** @param buffers - shared memory for large inputs */
  constructor(buffers: SharedBuffers, log: Log) {
    this.#buffers = buffers;
    this.#log = log;
  }

  /** Whether there is a thread now. */
  get isRunning(): boolean {
    return this.#worker !== undefined;
  }

  /** Opens a model in the worker, starting the thread if it is not running. */
  async load(options: OnnxSessionOptions): Promise<RemoteSession> {
    const session = this.#nextSession++;
    this.sessionCount++;
    try {
      const loaded = await this.#request("load", options.model, {
        session,
        options,
        measurements: openMeasurements,
      });
      if (loaded.kind !== "loaded") throw new Error(`a worker answered ${loaded.kind} to load`);
      this.#sessions.set(session, options);
      this.#ready.add(session);
      const ready = this.#ready;
      return {
        get isReady() {
          return ready.has(session);
        },
        memoryBytes: loaded.memoryBytes,
        graphCache: loaded.graphCache,
        inputs: loaded.inputs,
        outputs: loaded.outputs,
        timeFollowsSize: loaded.timeFollowsSize,
        isDeterministic: loaded.isDeterministic,
        run: (inputs, outputNames) => this.#run(session, options.model, inputs, outputNames),
        release: () => this.#release(session, options.model),
      };
    } catch (error) {
      this.sessionCount--;
      throw error;
    }
  }

  /** Resolves when a thread that ended is back with all its sessions. */
  onceRestarted(): Promise<void> {
    return new Promise((resolve) => this.#onRestarted.push(resolve));
  }

  /** Ends the thread as a crash would: calls under way fail, and it is started again. */
  async terminateThread(): Promise<void> {
    await this.#end();
  }

  /** Ends the thread for good; calls under way fail with `WORKER_LOST`. */
  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#restartTimer);
    await this.#end();
  }

  /**
   * Has the thread end itself between two calls: a native call that is cut off makes the binding abort
   * the process. One that does not come to an end is cut off all the same.
   */
  async #end(): Promise<void> {
    const worker = this.#worker;
    if (!worker || worker.threadId === -1) return;
    // What it still answers comes too late.
    this.#loseCalls();
    const exited = once(worker, "exit");
    worker.postMessage({ kind: "end" } satisfies WorkerRequest);
    const timer = setTimeout(() => void worker.terminate(), endTimeoutMs);
    await exited;
    clearTimeout(timer);
  }

  async #run(
    session: number,
    model: string,
    inputs: readonly Tensor[],
    outputNames: readonly string[],
  ): Promise<EngineResult> {
    // Between a crash and the reload there is no session to run on.
    if (!this.#ready.has(session)) throw workerLost(model);
    const shared: SharedArrayBuffer[] = [];
    const { packed, transfer } = packTensors(this.#share(inputs, shared), "borrowed");
    let ran: WorkerAnswer;
    try {
      ran = await this.#request("run", model, { session, inputs: packed, outputNames }, transfer);
    } finally {
      // The worker has answered, or is gone.
      for (const buffer of shared) this.#buffers.give(buffer);
    }
    if (ran.kind !== "ran") throw new Error(`a worker answered ${ran.kind} to run`);
    return { outputs: ran.outputs.map(unpackTensor), inferNs: ran.inferNs };
  }

  /** Copies large inputs into shared memory, as far as there is room. */
  #share(inputs: readonly Tensor[], taken: SharedArrayBuffer[]): readonly Tensor[] {
    return inputs.map((tensor) => {
      const { bytes } = tensor;
      if (!bytes || bytes.byteLength < leastSharedBytes) return tensor;
      const buffer = this.#buffers.take(bytes.byteLength);
      if (!buffer) return tensor;
      taken.push(buffer);
      const copy = new Uint8Array(buffer, 0, bytes.byteLength);
      copy.set(bytes);
      return { ...tensor, bytes: copy };
    });
  }

  async #release(session: number, model: string): Promise<void> {
    if (!this.#sessions.delete(session)) return;
    this.#ready.delete(session);
    this.sessionCount--;
    if (this.#worker) await this.#request("release", model, { session });
  }

  #request<K extends WorkerRequest["kind"]>(
    kind: K,
    model: string,
    body: RequestBody<K>,
    transfer: ArrayBuffer[] = [],
  ): Promise<WorkerAnswer> {
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      const thread = this.#thread();
      // A thread that waits for calls does not keep the process alive; one that works does.
      if (this.#pending.size === 0) thread.ref();
      this.#pending.set(id, { model, resolve, reject });
      thread.postMessage({ kind, id, ...body }, transfer);
    });
  }

  #thread(): Worker {
    if (this.#worker) return this.#worker;
    const worker = new Worker(entry, { name: "tensorwire-model" });
    worker.on("message", (answer: WorkerAnswer) => this.#onAnswer(answer));
    worker.on("error", (error) => this.#log.error({ err: error }, "a model worker thread failed"));
    worker.on("exit", (code) => this.#onExit(code));
    this.#worker = worker;
    return worker;
  }

  #onAnswer(answer: WorkerAnswer): void {
    const pending = this.#pending.get(answer.id);
    if (!pending) return;
    this.#pending.delete(answer.id);
    if (this.#pending.size === 0) this.#worker?.unref();
    if (answer.kind === "failed") pending.reject(fromPortable(answer.error));
    else pending.resolve(answer);
  }

  #loseCalls(): void {
    this.#ready.clear();
    for (const pending of this.#pending.values()) pending.reject(workerLost(pending.model));
    this.#pending.clear();
  }

  #onExit(code: number): void {
    this.#worker = undefined;
    this.#loseCalls();
    if (this.#closed) return;
    const retryMs = restartDelay(++this.#failures, Math.random());
    this.#log.error({ code, retryMs }, "a model worker thread ended; it is started again");
    this.#restartTimer = setTimeout(() => void this.#restart(), retryMs);
  }

  async #restart(): Promise<void> {
    for (const [session, options] of this.#sessions) {
      try {
        await this.#request("load", options.model, {
          session,
          options,
          measurements: openMeasurements,
        });
        this.#ready.add(session);
      } catch (error) {
        this.#log.error(
          { err: error, model: options.model },
          "a model did not load again after its worker ended",
        );
        // If the thread ended again, its exit has armed the next restart.
        if (!this.#worker) return;
      }
    }
    this.#failures = 0;
    const listeners = this.#onRestarted;
    this.#onRestarted = [];
    for (const listener of listeners) listener();
  }
}
