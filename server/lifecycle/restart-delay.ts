/** Delay before a process or a thread is started again after its first failure, in ms. */
const baseMs = 100;
/** Longest delay, in ms. */
const maxMs = 30_000;

/**
 * Time until a process or a thread is started again, in ms: doubled with each failure in a row, up to 30 s, and
 * between half of that and all of it, so that those that failed together do not start together.
 *
 * @param failures - in a row, from 1 on
 * @param random - from 0 to 1
 */
export function restartDelay(failures: number, random: number): number {
  const full = Math.min(maxMs, baseMs * 2 ** (failures - 1));
  return Math.round(full * (0.5 + random / 2));
}
