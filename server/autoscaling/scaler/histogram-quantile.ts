/** How many observations were no larger than a bound. */
export interface HistogramBucket {
  readonly bound: number;
  readonly count: number;
}

/**
 * Estimates a quantile as Prometheus' `histogram_quantile` does: linear within the bucket; the largest finite
 * bound if it lies above it.
 *
 * @param buckets - cumulative, in any order; several of one bound add up
 * @param share - of 0 to 1
 * @returns `undefined` without observations or without a bucket of bound infinity
 */
export function histogramQuantile(
  buckets: readonly HistogramBucket[],
  share: number,
): number | undefined {
  const counts = new Map<number, number>();
  for (const { bound, count } of buckets) counts.set(bound, (counts.get(bound) ?? 0) + count);
  const sorted = [...counts].sort(([a], [b]) => a - b);
  const [last, total] = sorted.at(-1) ?? [0, 0];
  if (last !== Number.POSITIVE_INFINITY || total === 0) return undefined;
  const rank = share * total;
  const at = sorted.findIndex(([, count]) => count >= rank);
  const [bound, count] = sorted[at]!;
  const [below, before] = at === 0 ? [0, 0] : sorted[at - 1]!;
  if (bound === Number.POSITIVE_INFINITY) return below;
  if (count === before) return bound;
  return below + ((bound - below) * (rank - before)) / (count - before);
}
