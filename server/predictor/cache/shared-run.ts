import type { AbortCause, CallAbort } from "../../rpc/call-context.ts";
import { abortError } from "../abort-error.ts";
import type { Execution } from "../executor.ts";

interface Waiter {
  readonly call: CallAbort;
  readonly since: number;
  readonly resolve: (execution: Execution) => void;
  readonly reject: (error: unknown) => void;
}

/** What a {@link SharedRun} acts on. */
export interface SharedRunOptions {
  /** Monotonic clock in ms. */
  readonly now: () => number;
  /** Told of every call that begins or ends to wait. */
  readonly onWaiters: (change: number) => void;
  /** Called when the last of those that waited has left, before the model hears of it. */
  readonly onEmpty: () => void;
}

/**
 * One run of a model that several equal calls wait for. To the model it is a call of its own, which is
 * cancelled when the last of those that wait has left.
 */
export class SharedRun implements CallAbort {
  readonly #waiters = new Set<Waiter>();
  readonly #options: SharedRunOptions;
  #aborted: AbortCause | undefined;
  #listener: (() => void) | undefined;

  constructor(options: SharedRunOptions) {
    this.#options = options;
  }

  get aborted(): AbortCause | undefined {
    return this.#aborted;
  }

  onAbort(listener: (() => void) | undefined): void {
    if (this.#aborted) listener?.();
    else this.#listener = listener;
  }

  /**
   * Waits for the run.
   *
   * @throws TensorwireError `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, or what the run threw
   */
  join(call: CallAbort): Promise<Execution> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = { call, since: this.#options.now(), resolve, reject };
      this.#waiters.add(waiter);
      this.#options.onWaiters(1);
      call.onAbort(() => this.#leave(waiter));
    });
  }

  /** The run is done: its first caller gets it as it is, the others get its outputs. */
  succeed(execution: Execution): void {
    let given = execution;
    for (const { since, resolve } of this.#takeAll()) {
      // One that came while the model ran did not wait for its begin.
      const startedMs = Math.max(execution.startedMs, since);
      resolve({ ...given, startedMs });
      given = { outputs: execution.outputs, startedMs, inferNs: 0, runRows: 0, fromCache: true };
    }
  }

  /** The run failed. */
  fail(error: unknown): void {
    for (const { reject } of this.#takeAll()) reject(error);
  }

  #takeAll(): readonly Waiter[] {
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    this.#options.onWaiters(-waiters.length);
    for (const { call } of waiters) call.onAbort(undefined);
    return waiters;
  }

  #leave(waiter: Waiter): void {
    if (!this.#waiters.delete(waiter)) return;
    this.#options.onWaiters(-1);
    if (this.#waiters.size === 0) this.#abort(waiter.call.aborted ?? "cancelled");
    waiter.reject(abortError(waiter.call, "while the call waited for the model's answer"));
  }

  #abort(cause: AbortCause): void {
    this.#aborted = cause;
    this.#options.onEmpty();
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.();
  }
}
