import type { Metric, MetricObjectWithValues, MetricValue, Registry } from "prom-client";

type Labels = Readonly<Record<string, string>>;

/** What a metric is, for whoever reads it. */
export interface BoundMetricOptions {
  readonly name: string;
  readonly help: string;
  readonly registry: Registry;
}

/** A count with its labels. */
export class CounterCell {
  readonly labels: Labels;
  value = 0;

  constructor(labels: Labels) {
    this.labels = labels;
  }

  inc(): void {
    this.value++;
  }
}

/** Observations with their labels. */
export class HistogramCell {
  readonly labels: Labels;
  /** Observations of each bucket alone; the last one has no upper bound. */
  readonly counts: Float64Array;
  sum = 0;
  readonly #bounds: readonly number[];

  constructor(labels: Labels, bounds: readonly number[]) {
    this.labels = labels;
    this.counts = new Float64Array(bounds.length + 1);
    this.#bounds = bounds;
  }

  observe(value: number): void {
    const bounds = this.#bounds;
    let low = 0;
    let high = bounds.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (value <= bounds[middle]!) high = middle;
      else low = middle + 1;
    }
    this.counts[low]!++;
    this.sum += value;
  }
}

/**
 * A counter whose labels are bound once: counting is an addition. prom-client looks its labels up for
 * every count, which a call of some microseconds would feel.
 */
export class BoundCounter {
  readonly name: string;
  readonly help: string;
  readonly type = "counter";
  readonly aggregator = "sum";
  readonly #cells = new Map<string, CounterCell>();

  constructor({ name, help, registry }: BoundMetricOptions) {
    this.name = name;
    this.help = help;
    register(registry, this);
  }

  /** The cell of these labels; the same for the same labels. */
  bind(labels: Labels): CounterCell {
    const key = keyOf(labels);
    let cell = this.#cells.get(key);
    if (!cell) {
      cell = new CounterCell(labels);
      this.#cells.set(key, cell);
    }
    return cell;
  }

  async get(): Promise<MetricObjectWithValues<MetricValue<string>>> {
    const values = [...this.#cells.values()].map(({ labels, value }) => ({ labels, value }));
    return describe(this, values);
  }

  reset(): void {
    for (const cell of this.#cells.values()) cell.value = 0;
  }
}

/** A histogram whose labels are bound once; see {@link BoundCounter}. */
export class BoundHistogram {
  readonly name: string;
  readonly help: string;
  readonly type = "histogram";
  readonly aggregator = "sum";
  readonly #bounds: readonly number[];
  readonly #cells = new Map<string, HistogramCell>();

  /** @param options - `buckets`: upper bounds, rising */
  constructor(options: BoundMetricOptions & { readonly buckets: readonly number[] }) {
    this.name = options.name;
    this.help = options.help;
    this.#bounds = options.buckets;
    register(options.registry, this);
  }

  /** The cell of these labels; the same for the same labels. */
  bind(labels: Labels): HistogramCell {
    const key = keyOf(labels);
    let cell = this.#cells.get(key);
    if (!cell) {
      cell = new HistogramCell(labels, this.#bounds);
      this.#cells.set(key, cell);
    }
    return cell;
  }

  async get(): Promise<MetricObjectWithValues<MetricValue<string>>> {
    const values: (MetricValue<string> & { metricName: string })[] = [];
    for (const { labels, counts, sum } of this.#cells.values()) {
      let total = 0;
      for (const [index, bound] of [...this.#bounds, "+Inf"].entries()) {
        total += counts[index]!;
        values.push({
          metricName: `${this.name}_bucket`,
          labels: { ...labels, le: bound },
          value: total,
        });
      }
      values.push({ metricName: `${this.name}_sum`, labels, value: sum });
      values.push({ metricName: `${this.name}_count`, labels, value: total });
    }
    return describe(this, values);
  }

  reset(): void {
    for (const cell of this.#cells.values()) {
      cell.counts.fill(0);
      cell.sum = 0;
    }
  }
}

/** The registry asks for no more of a metric than these have. */
function register(registry: Registry, metric: BoundCounter | BoundHistogram): void {
  registry.registerMetric(metric as unknown as Metric<string>);
}

function describe(
  { name, help, type, aggregator }: BoundCounter | BoundHistogram,
  values: MetricValue<string>[],
): MetricObjectWithValues<MetricValue<string>> {
  // prom-client's type says MetricType, an enum that its values of run time are not.
  return { name, help, type, aggregator, values } as unknown as MetricObjectWithValues<
    MetricValue<string>
  >;
}

function keyOf(labels: Labels): string {
  return JSON.stringify(labels);
}
