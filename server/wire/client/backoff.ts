/**
 * How long to wait between attempts to connect
 * (https://github.com/grpc/grpc/blob/master/doc/connection-backoff.md).
 */
export interface BackoffOptions {
  /** After the first failure, in ms. */
  readonly initialMs: number;
  /** By what the time grows with each failure. */
  readonly multiplier: number;
  /** Longest time before jitter, in ms. */
  readonly maxMs: number;
  /** Share of the time by which it is longer or shorter, by chance. */
  readonly jitter: number;
}

/** The values of the document. */
export const defaultBackoff: BackoffOptions = {
  initialMs: 1_000,
  multiplier: 1.6,
  maxMs: 120_000,
  jitter: 0.2,
};

/** Times between attempts that grow until one succeeds. */
export class Backoff {
  readonly #options: BackoffOptions;
  readonly #random: () => number;
  #currentMs: number;

  /** @param random - gives 0 to 1 */
  constructor(options: BackoffOptions, random: () => number) {
    this.#options = options;
    this.#random = random;
    this.#currentMs = options.initialMs;
  }

  /** Time from the begin of the attempt that failed to that of the next, in ms. */
  next(): number {
    const { multiplier, maxMs, jitter } = this.#options;
    const current = Math.min(this.#currentMs, maxMs);
    this.#currentMs = Math.min(current * multiplier, maxMs);
    return current * (1 + jitter * (2 * this.#random() - 1));
  }

  /** A connection was good. */
  reset(): void {
    this.#currentMs = this.#options.initialMs;
  }
}
