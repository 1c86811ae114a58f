/** What the autoscaler is told, of the time since the last report. */
export interface StatisticsReport {
  /** Calls at once, averaged over time; those that wait count. */
  readonly averageConcurrency: number;
  readonly averageProxiedConcurrency: number;
  /** Calls that began, a second. */
  readonly requestRate: number;
  readonly proxiedRequestRate: number;
}

/** Counts calls over time for the autoscaler (knative.dev/networking, pkg/http/stats). */
export class RequestStatistics {
  #concurrency = 0;
  #proxiedConcurrency = 0;
  #requests = 0;
  #proxiedRequests = 0;
  #lastChange: number;
  #weighted = 0;
  #proxiedWeighted = 0;
  #seconds = 0;

  /** @param now - monotonic clock, in ms */
  constructor(now: number) {
    this.#lastChange = now;
  }

  /** Calls that are under way, and wait. */
  get concurrency(): number {
    return this.#concurrency;
  }

  begin(now: number, proxied: boolean): void {
    this.#compute(now);
    this.#concurrency++;
    this.#requests++;
    if (!proxied) return;
    this.#proxiedConcurrency++;
    this.#proxiedRequests++;
  }

  end(now: number, proxied: boolean): void {
    this.#compute(now);
    this.#concurrency--;
    if (proxied) this.#proxiedConcurrency--;
  }

  /** Reports, and begins anew. */
  report(now: number): StatisticsReport {
    this.#compute(now);
    const seconds = this.#seconds;
    const rate = (sum: number): number => (seconds > 0 ? sum / seconds : 0);
    const report = {
      averageConcurrency: rate(this.#weighted),
      averageProxiedConcurrency: rate(this.#proxiedWeighted),
      requestRate: rate(this.#requests),
      proxiedRequestRate: rate(this.#proxiedRequests),
    };
    this.#weighted = 0;
    this.#proxiedWeighted = 0;
    this.#seconds = 0;
    this.#requests = 0;
    this.#proxiedRequests = 0;
    return report;
  }

  #compute(now: number): void {
    const seconds = (now - this.#lastChange) / 1000;
    if (seconds <= 0) return;
    this.#weighted += this.#concurrency * seconds;
    this.#proxiedWeighted += this.#proxiedConcurrency * seconds;
    this.#seconds += seconds;
    this.#lastChange = now;
  }
}
