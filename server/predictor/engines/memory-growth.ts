/**
 * Measures what the process grows by from now on: the result gives it, in bytes, never below 0. What other
 * threads take at the same time counts as well.
 */
export function memoryGrowth(): () => number {
  const before = process.memoryUsage.rss();
  return () => Math.max(process.memoryUsage.rss() - before, 0);
}
