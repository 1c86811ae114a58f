import type { SequenceClock } from "./backlog.ts";
import type { Sequence } from "./sequence.ts";

/** Sequences in a slot without a call, and the one timer that ends them. */
export class IdleSequences {
  /** Those longest without first. */
  readonly #sequences = new Set<Sequence>();
  readonly #idleMs: number;
  readonly #clock: SequenceClock;
  readonly #onExpired: (sequence: Sequence) => void;
  #cancel: (() => void) | undefined;

  /**
   * @param idleMs - time without a call, in ms
   * @param onExpired - told of a sequence that was without a call for so long
   */
  constructor(idleMs: number, clock: SequenceClock, onExpired: (sequence: Sequence) => void) {
    this.#idleMs = idleMs;
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  add(sequence: Sequence): void {
    sequence.idleSinceMs = this.#clock.now();
    this.#sequences.add(sequence);
    this.#cancel ??= this.#clock.after(this.#idleMs, this.#onTimer);
  }

  delete(sequence: Sequence): void {
    this.#sequences.delete(sequence);
  }

  /** Ends all of them at once. */
  expireAll(): void {
    for (const sequence of [...this.#sequences]) this.#expire(sequence);
  }

  /** Ends the timer. */
  close(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #expire(sequence: Sequence): void {
    this.#sequences.delete(sequence);
    this.#onExpired(sequence);
  }

  /** It is not set anew with each call: a timer that comes too early is cheaper. */
  readonly #onTimer = (): void => {
    const nowMs = this.#clock.now();
    this.#cancel = undefined;
    for (const sequence of this.#sequences) {
      const leftMs = sequence.idleSinceMs + this.#idleMs - nowMs;
      if (leftMs > 0) {
        this.#cancel = this.#clock.after(leftMs, this.#onTimer);
        return;
      }
      this.#expire(sequence);
    }
  };
}
