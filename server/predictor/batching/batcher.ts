import { queueFull } from "../../errors/model-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { abortError } from "../call-queue.ts";
import type { EngineResult } from "../engines/engine.ts";
import { type BatchPolicy, decideBatch } from "./batch-policy.ts";
import { canJoin, hasPlainRows, haveRows, joinRows, rowsOf, takeRows } from "./batch-tensors.ts";

/** What a call asks of the model. */
export interface BatchedCall {
  readonly inputs: readonly Tensor[];
  readonly outputNames: readonly string[];
}

/** What one call gets of a batch. */
export interface BatchedResult extends EngineResult {
  /** When the batch was given to the model, in ms on the monotonic clock. */
  readonly startedMs: number;
  /** Rows of the batch, on the first of its calls; 0 on the others, so that each run counts once. */
  readonly batchRows: number;
}

/** Computes a batch, before it returns or later. */
export type RunBatch = (
  inputs: readonly Tensor[],
  outputNames: readonly string[],
) => EngineResult | Promise<EngineResult>;

/** What a {@link Batcher} acts on; tests give their own clock. */
export interface BatcherOptions {
  /** Name of the model, for messages. */
  readonly model: string;
  readonly policy: BatchPolicy;
  /** Batches that the model is given at once. */
  readonly slots: number;
  /** Calls that may wait. */
  readonly limit: number;
  readonly run: RunBatch;
  /** Monotonic clock in ms. */
  readonly now: () => number;
  /** Calls `action` at the end of the turn of the event loop: when all calls of the turn have come. */
  readonly atTurnEnd: (action: () => void) => void;
  /** Calls `action` after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
}

interface Waiting extends BatchedCall {
  readonly call: CallAbort;
  readonly rows: number;
  readonly arrivedMs: number;
  readonly resolve: (result: BatchedResult) => void;
  readonly reject: (error: unknown) => void;
  /** Nobody waits for the answer any more. */
  gone: boolean;
  /** It shares no batch: its rows are not to be told from those of others, or a batch with it failed. */
  alone: boolean;
}

/**
 * Gathers calls of one model version into batches, in the order of their arrival: what comes in one turn
 * of the event loop, what comes while the model runs, and with a delay what comes within it. Only calls
 * with the same inputs, but for the number of rows, and the same outputs share a batch; the first that
 * differs closes it. When a batch fails its calls are run one by one, so that each gets its own error. A
 * call that is cancelled or past its deadline leaves at once.
 */
export class Batcher {
  readonly #options: BatcherOptions;
  #waiting: Waiting[] = [];
  #running = 0;
  #turnPending = false;
  #cancelTimer: (() => void) | undefined;
  #onIdle: (() => void)[] = [];

  constructor(options: BatcherOptions) {
    this.#options = options;
  }

  /** Calls that wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Batches that the model has. */
  get running(): number {
    return this.#running;
  }

  /** True if nothing runs or waits. */
  get isIdle(): boolean {
    return this.#running === 0 && this.#waiting.length === 0;
  }

  /**
   * Answers a call with its rows of a batch.
   *
   * @throws TensorwireError `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, or what the run threw
   */
  run(call: CallAbort, { inputs, outputNames }: BatchedCall): Promise<BatchedResult> {
    const { model, limit, now } = this.#options;
    if (call.aborted) return Promise.reject(abortError(call, "before the call reached the model"));
    if (this.#waiting.length >= limit) return Promise.reject(queueFull(model, limit));
    return new Promise((resolve, reject) => {
      const entry: Waiting = {
        inputs,
        outputNames,
        call,
        rows: rowsOf(inputs),
        arrivedMs: now(),
        resolve,
        reject,
        gone: false,
        alone: !hasPlainRows(inputs),
      };
      this.#waiting.push(entry);
      call.onAbort(() => this.#leave(entry));
      this.#lookAtTurnEnd();
    });
  }

  /** Resolves once nothing runs or waits. */
  idle(): Promise<void> {
    if (this.isIdle) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  #leave(entry: Waiting): void {
    if (entry.gone) return;
    entry.gone = true;
    const place = this.#waiting.indexOf(entry);
    if (place !== -1) this.#waiting.splice(place, 1);
    const where = place === -1 ? "while the model ran" : "while the call waited for the model";
    entry.reject(abortError(entry.call, where));
    if (place === -1) return;
    if (this.#waiting.length === 0) this.#stopTimer();
    this.#settled();
  }

  #stopTimer(): void {
    this.#cancelTimer?.();
    this.#cancelTimer = undefined;
  }

  #lookAtTurnEnd(): void {
    if (this.#turnPending) return;
    this.#turnPending = true;
    this.#options.atTurnEnd(() => {
      this.#turnPending = false;
      this.#send();
    });
  }

  /** Gives the model what it may have now. */
  #send(): void {
    this.#stopTimer();
    const { policy, slots, now, after } = this.#options;
    while (this.#running < slots && this.#waiting.length > 0) {
      const first = this.#waiting[0]!;
      let alike = 1;
      while (alike < this.#waiting.length && isAlike(first, this.#waiting[alike]!)) alike++;
      const rows = this.#waiting.slice(0, alike).map((entry) => entry.rows);
      const closed = first.alone || alike < this.#waiting.length;
      const decision = decideBatch(policy, rows, closed, now() - first.arrivedMs);
      if (decision.kind === "wait") {
        this.#cancelTimer = after(decision.ms, () => {
          this.#cancelTimer = undefined;
          this.#send();
        });
        return;
      }
      this.#start(this.#waiting.splice(0, decision.calls));
    }
  }

  #start(batch: readonly Waiting[]): void {
    const { run, now } = this.#options;
    const startedMs = now();
    const inputs =
      batch.length === 1 ? batch[0]!.inputs : joinRows(batch.map((each) => each.inputs));
    let result: EngineResult | Promise<EngineResult>;
    this.#running++;
    try {
      result = run(inputs, batch[0]!.outputNames);
    } catch (error) {
      this.#fail(batch, error);
      return;
    }
    if (result instanceof Promise) {
      result.then(
        (value) => this.#answer(batch, value, startedMs),
        (error: unknown) => this.#fail(batch, error),
      );
    } else this.#answer(batch, result, startedMs);
  }

  #answer(batch: readonly Waiting[], result: EngineResult, startedMs: number): void {
    const { outputs, inferNs } = result;
    let total = 0;
    for (const { rows } of batch) total += rows;
    if (batch.length > 1 && !haveRows(outputs, total)) {
      const shapes = outputs.map(({ name, shape }) => `${name} [${shape}]`).join(", ");
      this.#fail(batch, new Error(`a batch of ${total} rows gave ${shapes}`));
      return;
    }
    let start = 0;
    let batchRows = total;
    for (const entry of batch) {
      const own = batch.length === 1 ? outputs : takeRows(outputs, start, entry.rows, total);
      start += entry.rows;
      if (!entry.gone) {
        entry.gone = true;
        entry.call.onAbort(undefined);
        entry.resolve({ outputs: own, inferNs, startedMs, batchRows });
        batchRows = 0;
      }
    }
    this.#ended();
  }

  #fail(batch: readonly Waiting[], error: unknown): void {
    const left = batch.filter(({ gone }) => !gone);
    if (batch.length > 1) {
      for (const entry of left) entry.alone = true;
      this.#waiting.unshift(...left);
    } else {
      for (const entry of left) {
        entry.gone = true;
        entry.call.onAbort(undefined);
        entry.reject(error);
      }
    }
    this.#ended();
  }

  #ended(): void {
    this.#running--;
    if (this.#waiting.length > 0) this.#lookAtTurnEnd();
    this.#settled();
  }

  #settled(): void {
    if (!this.isIdle) return;
    const listeners = this.#onIdle;
    this.#onIdle = [];
    for (const listener of listeners) listener();
  }
}

function isAlike(one: Waiting, other: Waiting): boolean {
  if (one.alone || other.alone) return false;
  const names = one.outputNames;
  if (names.length !== other.outputNames.length) return false;
  for (let index = 0; index < names.length; index++) {
    if (names[index] !== other.outputNames[index]) return false;
  }
  return canJoin(one.inputs, other.inputs);
}
