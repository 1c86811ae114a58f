/** Lets so much pass a second, and so much at once. */
export class TokenBucket {
  readonly perSecond: number;
  readonly burst: number;
  #tokens: number;
  #at: number;

  /**
   * @param perSecond - above 0
   * @param burst - most tokens that gather, above 0
   * @param now - monotonic clock, in ms
   */
  constructor(perSecond: number, burst: number, now: number) {
    this.perSecond = perSecond;
    this.burst = burst;
    this.#tokens = burst;
    this.#at = now;
  }

  /**
   * Time in ms until so many tokens are there; 0 if they are. More than the burst are there when it is
   * full: who asks for them waits no longer than for all, and owes the rest.
   */
  waitFor(tokens: number, now: number): number {
    this.#fill(now);
    const missing = Math.min(tokens, this.burst) - this.#tokens;
    return missing <= 0 ? 0 : Math.ceil((missing / this.perSecond) * 1000);
  }

  /** Takes them, after {@link waitFor} said 0. */
  take(tokens: number): void {
    this.#tokens -= tokens;
  }

  #fill(now: number): void {
    const ms = now - this.#at;
    if (ms <= 0) return;
    this.#at = now;
    this.#tokens = Math.min(this.burst, this.#tokens + (ms / 1000) * this.perSecond);
  }
}
