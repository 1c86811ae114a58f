import { modelLoadTimeout, queueFull } from "../../errors/model-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import { abortError } from "../abort-error.ts";
import type { ServedModel } from "../served-model.ts";

/** What the calls that wait for a model have in common. */
export interface WaitingCallsOptions {
  readonly model: string;
  /** Calls that may wait at once. */
  readonly limit: number;
  /** Time that a call may wait, in ms. */
  readonly timeoutMs: number;
  /** Calls back after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
  /** Lets other work of the thread come in between. */
  readonly yieldTurn: () => Promise<void>;
}

/** Calls that are begun before other work of the thread gets its turn. */
const callsPerTurn = 32;

interface WaitingCall {
  readonly version: string;
  /** Begins the call. */
  readonly begin: (model: ServedModel) => void;
  readonly reject: (error: unknown) => void;
  /** Leaves the deadline, the caller and the clock alone. */
  readonly release: () => void;
}

/**
 * Calls that wait until their model is in memory, in the order in which they came: bounded in number and in
 * time. One that is cancelled or past its deadline leaves at once.
 */
export class WaitingCalls {
  /** Called when the last call left without having been begun. */
  onAbandoned: (() => void) | undefined = undefined;
  readonly #options: WaitingCallsOptions;
  readonly #calls = new Set<WaitingCall>();

  constructor(options: WaitingCallsOptions) {
    this.#options = options;
  }

  get size(): number {
    return this.#calls.size;
  }

  /**
   * Waits for the model.
   *
   * @param use - begins the call, in the same turn in which the model was seen to be in memory
   * @throws TensorwireError `QUEUE_FULL`, `MODEL_LOAD_TIMEOUT`, `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, why
   * the model did not load, or what `use` throws
   */
  add<T>(
    version: string,
    call: CallAbort,
    use: (model: ServedModel) => T | Promise<T>,
  ): Promise<T> {
    const { model, limit, timeoutMs, after } = this.#options;
    const where = "while the model was being loaded";
    if (call.aborted) return Promise.reject(abortError(call, where));
    if (this.#calls.size >= limit) return Promise.reject(queueFull(model, limit));
    return new Promise<T>((resolve, reject) => {
      const cancelTimer = after(timeoutMs, () =>
        this.#leave(waiting, modelLoadTimeout(model, timeoutMs)),
      );
      const waiting: WaitingCall = {
        version,
        begin: (loaded) => {
          try {
            resolve(use(loaded));
          } catch (error) {
            reject(error);
          }
        },
        reject,
        release: () => {
          cancelTimer();
          call.onAbort(undefined);
        },
      };
      this.#calls.add(waiting);
      call.onAbort(() => this.#leave(waiting, abortError(call, where)));
    });
  }

  /**
   * Begins every call that waits, those that come meanwhile included.
   *
   * @param resolve - gives the version of a call, or throws why it is not there
   */
  async begin(resolve: (version: string) => ServedModel): Promise<void> {
    let begun = 0;
    for (const waiting of this.#calls) {
      this.#calls.delete(waiting);
      waiting.release();
      try {
        waiting.begin(resolve(waiting.version));
      } catch (error) {
        waiting.reject(error);
      }
      if (++begun % callsPerTurn === 0) await this.#options.yieldTurn();
    }
  }

  /** Ends every call that waits with an error. */
  fail(error: unknown): void {
    for (const waiting of this.#calls) {
      waiting.release();
      waiting.reject(error);
    }
    this.#calls.clear();
  }

  #leave(waiting: WaitingCall, error: Error): void {
    if (!this.#calls.delete(waiting)) return;
    waiting.release();
    waiting.reject(error);
    if (this.#calls.size === 0) this.onAbandoned?.();
  }
}
