/** Measurements that are under way, in all threads that know of it. */
export type OpenMeasurements = Int32Array<SharedArrayBuffer>;

/** Those of this process; worker threads are given it. */
export const openMeasurements: OpenMeasurements = new Int32Array(new SharedArrayBuffer(4));

/**
 * Does something, and measures what the process grows by meanwhile, in bytes, never below 0. Where others are
 * measured at the same time, each is taken to have its share.
 *
 * @param open - measurements under way, of all threads
 * @param residentBytes - memory of the process
 */
export async function measureGrowth<T>(
  work: () => T | Promise<T>,
  open: OpenMeasurements = openMeasurements,
  residentBytes: () => number = process.memoryUsage.rss,
): Promise<{ readonly value: T; readonly bytes: number }> {
  const atBegin = Atomics.add(open, 0, 1) + 1;
  const before = residentBytes();
  let atEnd = 1;
  let value: T;
  try {
    value = await work();
  } finally {
    atEnd = Atomics.sub(open, 0, 1);
  }
  const grown = Math.max(residentBytes() - before, 0);
  return { value, bytes: Math.round((2 * grown) / (atBegin + atEnd)) };
}
