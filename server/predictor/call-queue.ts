import { callAborted, queueFull } from "../errors/model-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallAbort } from "../rpc/call-context.ts";

interface Waiting {
  readonly start: () => void;
  previous: Waiting | undefined;
  next: Waiting | undefined;
}

/**
 * Calls of one model version in the order of their arrival: `slots` run at once, up to `limit` wait.
 * A call that is cancelled or past its deadline leaves the queue at once, without running.
 */
export class CallQueue {
  readonly #model: string;
  readonly #slots: number;
  readonly #limit: number;
  #running = 0;
  #waiting = 0;
  #first: Waiting | undefined;
  #last: Waiting | undefined;
  #onIdle: (() => void) | undefined;

  /**
   * @param model - for messages
   * @param slots - calls at once, at least 1
   * @param limit - calls that may wait, 0 or more
   */
  constructor(model: string, slots: number, limit: number) {
    this.#model = model;
    this.#slots = slots;
    this.#limit = limit;
  }

  /** Calls that wait for a slot. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Calls that have a slot. */
  get running(): number {
    return this.#running;
  }

  /** True if nothing runs or waits. */
  get isIdle(): boolean {
    return this.#running === 0 && this.#waiting === 0;
  }

  /**
   * Runs a task when a slot is free.
   *
   * @param task - its result is dropped if the call is aborted while it runs; the slot stays taken
   * until it ends
   * @throws TensorwireError `QUEUE_FULL`, `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, or what the task threw
   */
  run<T>(call: CallAbort, task: () => Promise<T>): Promise<T> {
    if (call.aborted) return Promise.reject(abortError(call, "before the call reached the model"));
    return new Promise<T>((resolve, reject) => {
      let waiting: Waiting | undefined;
      const start = (): void => {
        waiting = undefined;
        this.#running++;
        task().then(
          (value) => {
            call.onAbort(undefined);
            this.#release();
            resolve(value);
          },
          (error: unknown) => {
            call.onAbort(undefined);
            this.#release();
            reject(error);
          },
        );
      };
      if (this.#running < this.#slots) start();
      else if (this.#waiting < this.#limit) waiting = this.#append(start);
      else {
        reject(queueFull(this.#model, this.#limit));
        return;
      }
      call.onAbort(() => {
        const inQueue = waiting !== undefined;
        if (waiting) this.#remove(waiting);
        const where = inQueue ? "while the call waited for the model" : "while the model ran";
        reject(abortError(call, where));
      });
    });
  }

  /** Resolves once nothing runs or waits. */
  async idle(): Promise<void> {
    if (this.#running === 0 && this.#waiting === 0) return;
    await new Promise<void>((resolve) => {
      const earlier = this.#onIdle;
      this.#onIdle = () => {
        earlier?.();
        resolve();
      };
    });
  }

  #release(): void {
    this.#running--;
    const first = this.#first;
    if (first) {
      this.#remove(first);
      first.start();
    } else if (this.#running === 0) {
      const onIdle = this.#onIdle;
      this.#onIdle = undefined;
      onIdle?.();
    }
  }

  #append(start: () => void): Waiting {
    const entry: Waiting = { start, previous: this.#last, next: undefined };
    if (this.#last) this.#last.next = entry;
    else this.#first = entry;
    this.#last = entry;
    this.#waiting++;
    return entry;
  }

  #remove(entry: Waiting): void {
    if (entry.previous) entry.previous.next = entry.next;
    else this.#first = entry.next;
    if (entry.next) entry.next.previous = entry.previous;
    else this.#last = entry.previous;
    this.#waiting--;
  }
}

/** The error for a call that nobody waits for. */
export function abortError(call: CallAbort, where: string): TensorwireError {
  return callAborted(call.aborted ?? "cancelled", where);
}
