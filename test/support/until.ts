import { setTimeout as wait } from "node:timers/promises";

/**
 * Looks again and again until something holds that no event tells of.
 *
 * @param limitMs - time after which it is given up, in ms; default 15 000
 * @throws Error with what `describe` says, if it does not hold by then
 */
export async function until(
  holds: () => boolean | Promise<boolean>,
  describe: () => string = () => holds.toString(),
  limitMs = 15_000,
): Promise<void> {
  const limit = performance.now() + limitMs;
  while (!(await holds())) {
    if (performance.now() > limit)
      throw new Error(`still not so after ${limitMs / 1000} s: ${describe()}`);
    await wait(5);
  }
}
