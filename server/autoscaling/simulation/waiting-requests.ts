/** Requests that wait, first come, first served; each is the time in ms at which it came. */
export class WaitingRequests {
  #times: number[] = [];
  #first = 0;

  get length(): number {
    return this.#times.length - this.#first;
  }

  push(cameAt: number): void {
    this.#times.push(cameAt);
  }

  /** @throws RangeError if none waits */
  shift(): number {
    const cameAt = this.#times[this.#first++];
    if (cameAt === undefined) throw new RangeError("no request waits");
    // What was taken is let go once it is the larger part.
    if (this.#first > 1024 && this.#first * 2 > this.#times.length) {
      this.#times = this.#times.slice(this.#first);
      this.#first = 0;
    }
    return cameAt;
  }
}
