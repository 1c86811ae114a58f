/** How the buckets of a window become one value. */
export type WindowAverage = "linear" | "weighted-exponential";

/** Weight that the newest bucket has at least, so that long windows do not react too slowly. */
const minSmoothing = 0.2;
/** Share of all weight that lies within the window. */
const weightInWindow = 0.9999;

/**
 * Values of the last seconds in buckets of one second, of which an average is taken over those that can have
 * values: a window that is younger than its length is not thinned by what came before it.
 * Knative Serving, pkg/autoscaler/aggregation/bucketing.go.
 */
export class TimeWindow {
  readonly #buckets: Float64Array;
  readonly #average: WindowAverage;
  readonly #smoothing: number;
  /** Seconds of the first and the newest value; -1 before any. */
  #first = -1;
  #newest = -1;

  /** @param seconds - length, at least 1 */
  constructor(seconds: number, average: WindowAverage = "linear") {
    this.#buckets = new Float64Array(Math.max(1, Math.round(seconds)));
    this.#average = average;
    this.#smoothing = Math.max(
      1 - (1 - weightInWindow) ** (1 / this.#buckets.length),
      minSmoothing,
    );
  }

  /** Adds a value to the bucket of a time in ms, unless that lies before the window. */
  record(nowMs: number, value: number): void {
    const buckets = this.#buckets;
    const second = Math.floor(nowMs / 1000);
    if (this.isEmpty(nowMs)) {
      buckets.fill(0);
      this.#first = second;
      this.#newest = second;
    } else if (second <= this.#newest - buckets.length) return;
    this.#first = Math.min(this.#first, second);
    for (let at = this.#newest + 1; at <= second; at++) buckets[at % buckets.length] = 0;
    this.#newest = Math.max(this.#newest, second);
    buckets[second % buckets.length]! += value;
  }

  /** Whether no value lies in the window that ends at a time in ms. */
  isEmpty(nowMs: number): boolean {
    return this.#newest < 0 || Math.floor(nowMs / 1000) - this.#newest >= this.#buckets.length;
  }

  /** Average at a time in ms; 0 for an empty window. */
  average(nowMs: number): number {
    if (this.isEmpty(nowMs)) return 0;
    const silent = Math.max(0, Math.floor(nowMs / 1000) - this.#newest);
    const kept = this.#buckets.length - silent;
    if (this.#average === "weighted-exponential") return this.#exponential(kept, silent);
    // What adding up floats leaves behind must not ask for one pod more.
    return Math.round(this.#linear(kept) * 1e6) / 1e6;
  }

  /** @param kept - buckets from the newest value back that still lie in the window */
  #linear(kept: number): number {
    const valid = Math.min(this.#newest - this.#first + 1, kept);
    let sum = 0;
    for (let back = 0; back < valid; back++) sum += this.#at(back);
    return sum / valid;
  }

  /** @param silent - seconds without a value, which count as zeros */
  #exponential(kept: number, silent: number): number {
    let weight = this.#smoothing * (1 - this.#smoothing) ** silent;
    let sum = 0;
    for (let back = 0; back < kept; back++) {
      sum += this.#at(back) * weight;
      weight *= 1 - this.#smoothing;
    }
    return sum;
  }

  #at(back: number): number {
    const { length } = this.#buckets;
    // Seconds since 1970 are far from 0; those of a virtual clock may not be.
    return this.#buckets[(((this.#newest - back) % length) + length) % length]!;
  }
}
