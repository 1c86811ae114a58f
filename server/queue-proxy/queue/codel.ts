/**
 * Decides which calls to shed so that those that are left wait less (CoDel, RFC 8289, section 5): a wait
 * above the target for a whole interval is a queue that does not drain by itself.
 */
export class Codel {
  #firstAboveAt = -1;
  #dropping = false;
  #dropNextAt = 0;
  #count = 0;

  /**
   * Told of each call that leaves the queue.
   *
   * @returns true if it is to be shed
   */
  sheds(waitedMs: number, now: number, targetMs: number, intervalMs: number): boolean {
    if (!this.#isAbove(waitedMs, now, targetMs, intervalMs)) {
      this.#dropping = false;
      return false;
    }
    if (this.#dropping) {
      if (now < this.#dropNextAt) return false;
      this.#count++;
      this.#dropNextAt += intervalMs / Math.sqrt(this.#count);
      return true;
    }
    this.#dropping = true;
    // Begins near the rate that was enough not long ago.
    const recent = now - this.#dropNextAt < 16 * intervalMs;
    this.#count = recent && this.#count > 2 ? this.#count - 2 : 1;
    this.#dropNextAt = now + intervalMs / Math.sqrt(this.#count);
    return true;
  }

  #isAbove(waitedMs: number, now: number, targetMs: number, intervalMs: number): boolean {
    if (waitedMs < targetMs) {
      this.#firstAboveAt = -1;
      return false;
    }
    if (this.#firstAboveAt === -1) {
      this.#firstAboveAt = now + intervalMs;
      return false;
    }
    return now >= this.#firstAboveAt;
  }
}
