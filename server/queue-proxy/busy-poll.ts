/**
 * Looks for the next event again and again for a while after each call, in place of sleeping until the
 * kernel wakes the process: that takes longer than a call takes here. It costs a core while calls come.
 */
export class BusyPoll {
  readonly #pollMs: number;
  #until = 0;
  #running = false;

  /** @param pollMs - time after the last call */
  constructor(pollMs: number) {
    this.#pollMs = pollMs;
  }

  /** A call has begun, or ended. */
  touch(now: number): void {
    this.#until = now + this.#pollMs;
    if (this.#running) return;
    this.#running = true;
    setImmediate(this.#turn);
  }

  readonly #turn = (): void => {
    if (performance.now() < this.#until) setImmediate(this.#turn);
    else this.#running = false;
  };
}
