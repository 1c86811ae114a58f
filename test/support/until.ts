import { setTimeout as wait } from "node:timers/promises";

/**
 * Looks again and again until something holds that no event tells of.
 *
 * @throws Error with what `describe` says, if it does not hold within 15 s
 */
export async function until(
  holds: () => boolean | Promise<boolean>,
  describe: () => string = () => holds.toString(),
): Promise<void> {
  const limit = performance.now() + 15_000;
  while (!(await holds())) {
    if (performance.now() > limit) throw new Error(`still not so after 15 s: ${describe()}`);
    await wait(5);
  }
}
