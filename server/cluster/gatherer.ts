import type { Gathered, Question } from "./messages.ts";

/** A worker that can be asked. */
export interface Answerer {
  readonly number: number;
  askQuestion(id: number, question: Question): void;
}

interface Asking {
  readonly pending: Set<Answerer>;
  readonly answers: { readonly worker: number; readonly answer: unknown }[];
  missing: number;
  readonly end: () => void;
}

/** Asks workers, and waits for their answers for a bounded time. */
export class Gatherer {
  readonly #after: (ms: number, action: () => void) => () => void;
  readonly #timeoutMs: number;
  readonly #asking = new Map<number, Asking>();
  #nextId = 1;
  /** Answers that did not come, in time or at all, since the start. */
  missed = 0;

  /**
   * @param after - calls `action` after a time; the result cancels
   * @param timeoutMs - time for all answers to a question together
   */
  constructor(after: (ms: number, action: () => void) => () => void, timeoutMs: number) {
    this.#after = after;
    this.#timeoutMs = timeoutMs;
  }

  /** Asks workers the same; those that do not answer in time are left out and counted. */
  gather(workers: readonly Answerer[], question: Question): Promise<Gathered> {
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const asking: Asking = {
        pending: new Set(workers),
        answers: [],
        missing: 0,
        end: () => {
          cancel();
          this.#asking.delete(id);
          const missing = asking.missing + asking.pending.size;
          this.missed += missing;
          resolve({ answers: asking.answers.toSorted((a, b) => a.worker - b.worker), missing });
        },
      };
      const cancel = this.#after(this.#timeoutMs, asking.end);
      this.#asking.set(id, asking);
      for (const worker of workers) worker.askQuestion(id, question);
      if (workers.length === 0) asking.end();
    });
  }

  /** A worker answered. */
  answered(worker: Answerer, id: number, answer: unknown): void {
    const asking = this.#asking.get(id);
    if (!asking?.pending.delete(worker)) return;
    asking.answers.push({ worker: worker.number, answer });
    if (asking.pending.size === 0) asking.end();
  }

  /** A worker could not answer. */
  unanswered(worker: Answerer, id: number): void {
    const asking = this.#asking.get(id);
    if (!asking?.pending.delete(worker)) return;
    asking.missing++;
    if (asking.pending.size === 0) asking.end();
  }

  /** A worker is gone; nobody waits for it any more. */
  remove(worker: Answerer): void {
    for (const id of [...this.#asking.keys()]) this.unanswered(worker, id);
  }
}
