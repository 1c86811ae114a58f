/** How the limit of calls at once follows the server. */
export interface AdaptivePolicy {
  /** Bounds of the limit. */
  readonly least: number;
  readonly most: number;
  /** By what part calls may take longer than without others beside them; default 0.25. */
  readonly tolerance: number;
}

/** Default of an adaptive limit. */
export const adaptiveDefaults: AdaptivePolicy = { least: 1, most: 1000, tolerance: 0.25 };

/** Time that calls are averaged over before the limit changes, in ms, and how many there must be. */
const windowMs = 250;
const leastSamples = 5;
/** By what the limit is multiplied in one window. */
const steepest = { down: 0.5, up: 2 } as const;
/** Calls at once while the time without others is measured, and how many are measured. */
const calmLimit = 3;
const calmSamples = 10;
/** Age from which that time is measured anew, in ms: the server may have become slower or faster. */
const calmValidMs = 30_000;
const firstLimit = 20;

type LimitState =
  /** Few calls are let through, to see how long one takes when it is not held up. */
  { readonly kind: "measuring"; readonly limitBefore: number } | { readonly kind: "adapting" };

/**
 * A limit on calls at once that follows the time that they take: by the gradient between what a call takes by
 * itself and what it takes now, with room for some that wait in the server, so that it always has work. As
 * Envoy's adaptive concurrency filter (envoy.filters.http.adaptive_concurrency, gradient controller) does it.
 */
export class AdaptiveLimit {
  readonly #policy: AdaptivePolicy;
  #state: LimitState;
  #limit: number;
  /** Time of a call without others, in ms; 0 before it was measured. */
  #calmMs = 0;
  #calmAt = 0;
  // Of the window under way.
  #since: number;
  #sumMs = 0;
  #samples = 0;
  #peak = 0;

  /** @param now - monotonic, in ms */
  constructor(policy: AdaptivePolicy, now: number) {
    this.#policy = policy;
    this.#since = now;
    this.#state = { kind: "measuring", limitBefore: this.#bounded(firstLimit) };
    this.#limit = this.#bounded(calmLimit);
  }

  /** Calls that may be with the server at once. */
  get limit(): number {
    return this.#limit;
  }

  /**
   * A call was answered.
   *
   * @param serviceMs - time from sending it to the end of its answer
   * @param running - calls that were with the server, this one included
   */
  served(serviceMs: number, running: number, now: number): void {
    // Of those that began before, more than are measured now were at once.
    if (this.#state.kind === "measuring" && running > this.#limit) return;
    this.#sumMs += serviceMs;
    this.#samples++;
    this.#peak = Math.max(this.#peak, running);
    switch (this.#state.kind) {
      case "measuring":
        if (this.#samples < calmSamples) return;
        this.#calm(this.#sumMs / this.#samples, now);
        this.#limit = this.#state.limitBefore;
        this.#state = { kind: "adapting" };
        break;
      case "adapting":
        if (now - this.#since < windowMs || this.#samples < leastSamples) return;
        this.#adapt(this.#sumMs / this.#samples, now);
    }
    this.#since = now;
    this.#sumMs = 0;
    this.#samples = 0;
    this.#peak = 0;
  }

  #adapt(meanMs: number, now: number): void {
    if (this.#peak <= calmLimit || meanMs <= this.#calmMs) this.#calm(meanMs, now);
    if (now - this.#calmAt >= calmValidMs) {
      this.#state = { kind: "measuring", limitBefore: this.#limit };
      this.#limit = this.#bounded(calmLimit);
      return;
    }
    const ratio = (this.#calmMs * (1 + this.#policy.tolerance)) / meanMs;
    const gradient = Math.min(Math.max(ratio, steepest.down), steepest.up);
    // Calls that are few say nothing of what more would do.
    if (gradient >= 1 && this.#peak < this.#limit / 2) return;
    this.#limit = this.#bounded(this.#limit * gradient + Math.sqrt(this.#limit));
  }

  #calm(meanMs: number, now: number): void {
    this.#calmMs = meanMs;
    this.#calmAt = now;
  }

  #bounded(limit: number): number {
    const { least, most } = this.#policy;
    return Math.min(Math.max(Math.round(limit), least), most);
  }
}
