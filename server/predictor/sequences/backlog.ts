import type { Sequence } from "./sequence.ts";

/** Clock of a {@link Backlog} and of idle sequences. */
export interface SequenceClock {
  /** Monotonic, in ms. */
  readonly now: () => number;
  /** Calls `action` after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
}

/**
 * Sequences that wait for a slot, in order; each has a call that waits, so that the bound of those bounds
 * them. A sequence waits no longer than each of its calls allows.
 */
export class Backlog {
  readonly #sequences = new Set<Sequence>();
  readonly #clock: SequenceClock;
  readonly #onExpired: (sequence: Sequence) => void;
  #cancel: (() => void) | undefined;
  /** When the timer is due, in ms. */
  #dueMs = Number.POSITIVE_INFINITY;

  /** @param onExpired - told of a sequence that waited too long, which it takes out */
  constructor(clock: SequenceClock, onExpired: (sequence: Sequence) => void) {
    this.#clock = clock;
    this.#onExpired = onExpired;
  }

  get size(): number {
    return this.#sequences.size;
  }

  has(sequence: Sequence): boolean {
    return this.#sequences.has(sequence);
  }

  /** Adds a sequence at the end, or looks at its calls again. */
  add(sequence: Sequence): void {
    this.#sequences.add(sequence);
    let expiresMs = Number.POSITIVE_INFINITY;
    for (const { request, arrivedMs } of sequence.steps) {
      const { timeoutMs } = request;
      if (timeoutMs > 0) expiresMs = Math.min(expiresMs, arrivedMs + timeoutMs);
    }
    sequence.expiresMs = expiresMs;
    this.#expect(expiresMs);
  }

  /** Takes a sequence out, wherever it stands. */
  delete(sequence: Sequence): void {
    this.#sequences.delete(sequence);
  }

  /** Takes the first one out. */
  shift(): Sequence | undefined {
    const [first] = this.#sequences;
    if (first) this.#sequences.delete(first);
    return first;
  }

  /** Ends the timer. */
  close(): void {
    this.#cancel?.();
  }

  #expect(atMs: number): void {
    if (atMs >= this.#dueMs) return;
    this.#cancel?.();
    this.#dueMs = atMs;
    const { now, after } = this.#clock;
    this.#cancel = after(Math.max(atMs - now(), 0), this.#onTimer);
  }

  readonly #onTimer = (): void => {
    const nowMs = this.#clock.now();
    this.#cancel = undefined;
    this.#dueMs = Number.POSITIVE_INFINITY;
    for (const sequence of [...this.#sequences]) {
      if (sequence.expiresMs <= nowMs) this.#onExpired(sequence);
      else this.#expect(sequence.expiresMs);
    }
  };
}
