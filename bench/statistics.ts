/**
 * Middle of some numbers: the mean of the two middle ones if their count is even.
 * @throws RangeError without numbers
 */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const upper = sorted[Math.floor(sorted.length / 2)];
  const lower = sorted[Math.floor((sorted.length - 1) / 2)];
  if (upper === undefined || lower === undefined) throw new RangeError("no values");
  return (lower + upper) / 2;
}

/**
 * Smallest value that at least this share of all values does not exceed (nearest rank).
 * @param sorted - ascending, not empty
 * @param share - over 0, up to 1
 */
export function quantile(sorted: Float64Array, share: number): number {
  const value = sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)];
  if (value === undefined) throw new RangeError("no values");
  return value;
}
