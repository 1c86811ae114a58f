/** Wrong ends that are told word by word. */
const toldWrongs = 20;

/**
 * The account of a load: every call that was begun ends in it once, answered, with an error, or wrong; what
 * is missing is lost.
 */
export class Ledger {
  begun = 0;
  answered = 0;
  /** Errors by reason. */
  readonly errors = new Map<string, number>();
  wrongCount = 0;
  readonly wrongs: string[] = [];
  readonly #allowed: ReadonlySet<string>;

  /** @param allowed - reasons with which a call may end; any other is wrong */
  constructor(allowed: readonly string[]) {
    this.#allowed = new Set(allowed);
  }

  /** Calls that ended. */
  get ended(): number {
    let sum = this.answered + this.wrongCount;
    for (const count of this.errors.values()) sum += count;
    return sum;
  }

  /** Calls of which nothing was heard: under way, or lost if the load has ended. */
  get lost(): number {
    return this.begun - this.ended;
  }

  /** A call ended with an error. */
  failed(reason: string, message: string): void {
    if (this.#allowed.has(reason)) this.errors.set(reason, (this.errors.get(reason) ?? 0) + 1);
    else this.wrong(`${reason}: ${message}`);
  }

  /** A call ended otherwise than it may. */
  wrong(what: string): void {
    this.wrongCount++;
    if (this.wrongs.length < toldWrongs) this.wrongs.push(what);
  }

  /** `3000 calls: 2990 answered, 10 WORKER_LOST` */
  summary(): string {
    const parts = [
      `${this.answered} answered`,
      ...[...this.errors].map(([reason, count]) => `${count} ${reason}`),
      ...(this.wrongCount > 0 ? [`${this.wrongCount} wrong`] : []),
      ...(this.lost > 0 ? [`${this.lost} without an end`] : []),
    ];
    return `${this.begun} calls: ${parts.join(", ")}`;
  }
}
