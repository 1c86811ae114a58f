/** Work that is done one after the other, in the order in which it was asked for. */
export class Turns {
  #last: Promise<unknown> = Promise.resolve();
  #waiting = 0;

  /** Work that waits for its turn. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Does the work when all that was asked for before is over, whatever end it had. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    const before = this.#last;
    const turn = Promise.withResolvers<void>();
    this.#last = turn.promise;
    this.#waiting++;
    try {
      await before;
      this.#waiting--;
      return await work();
    } finally {
      turn.resolve();
    }
  }
}
