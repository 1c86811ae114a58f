/**
 * Finds the bandwidth-delay product of a connection: how much comes in between a PING and its answer.
 * When that nears the window, the window is what slows the peer, and it is doubled.
 */
export class BandwidthProbe {
  readonly #maxWindow: number;
  #window: number;
  #bytes = 0;
  #probing = false;

  constructor(initialWindow: number, maxWindow: number) {
    this.#window = initialWindow;
    this.#maxWindow = maxWindow;
  }

  /** Window of a stream, in bytes. */
  get window(): number {
    return this.#window;
  }

  /**
   * Content came in.
   *
   * @param left - what is left of the window of its stream
   * @returns true if a PING should go out now
   */
  onData(bytes: number, left: number): boolean {
    if (this.#probing) {
      this.#bytes += bytes;
      return false;
    }
    if (this.#window >= this.#maxWindow || left > this.#window / 2) return false;
    this.#probing = true;
    this.#bytes = bytes;
    return true;
  }

  /** @returns true if the window has grown */
  onAnswer(): boolean {
    this.#probing = false;
    if (this.#bytes < (this.#window * 2) / 3) return false;
    this.#window = Math.min(this.#maxWindow, Math.max(this.#window, this.#bytes) * 2);
    return true;
  }
}
