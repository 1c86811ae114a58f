import {
  AggregatorRegistry,
  type MetricObjectWithValues,
  type MetricValue,
  type Registry,
} from "prom-client";

/** A registry's metrics as prom-client gives them for JSON. */
export type MetricsJson = readonly MetricObjectWithValues<MetricValue<string>>[];

/**
 * Sums the metrics of the workers. What a worker counted before it ended stays in the sum, as far as it
 * was read: a counter that falls means to Prometheus that it began anew.
 */
export class SummedMetrics {
  readonly #seen = new Map<number, MetricsJson>();
  /** Counts of workers that ended; one after they were read. */
  readonly #departed: MetricsJson[] = [];
  #isSumming = false;

  /** A worker ended: its counts stay, its gauges go. */
  forget(worker: number): void {
    const last = this.#seen.get(worker);
    if (!last) return;
    this.#seen.delete(worker);
    this.#departed.push(last.filter(({ type }) => counts.includes(`${type}`)));
  }

  /**
   * All metrics in Prometheus' text format.
   *
   * @param given - by worker; the last ones of a worker that gave none count on
   */
  async text(
    given: readonly { readonly worker: number; readonly metrics: MetricsJson }[],
  ): Promise<string> {
    for (const { worker, metrics } of given) this.#seen.set(worker, metrics);
    const all = [...this.#seen.values(), ...this.#departed];
    await this.#sumDeparted();
    return aggregate(all).metrics();
  }

  /** What departed is kept as one, however many there were. */
  async #sumDeparted(): Promise<void> {
    const departed = this.#departed;
    if (departed.length < 2 || this.#isSumming) return;
    this.#isSumming = true;
    const several = departed.length;
    const sum = await aggregate(departed).getMetricsAsJSON();
    departed.splice(0, several, sum);
    this.#isSumming = false;
  }
}

/** Types of metrics that only rise, as they are called in JSON. */
const counts: readonly string[] = ["counter", "histogram", "summary"];

function aggregate(all: readonly MetricsJson[]): Registry {
  return AggregatorRegistry.aggregate(all.map((metrics) => [...metrics]));
}
