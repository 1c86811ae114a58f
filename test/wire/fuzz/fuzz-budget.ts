import { randomInt } from "node:crypto";
import type { ExecutionContext } from "ava";
import fc, { type Arbitrary } from "fast-check";

/** Seconds that all properties of this folder take together. */
const seconds = Number(process.env.TENSORWIRE_FUZZ_SECONDS ?? "10");
const seed = Number(process.env.TENSORWIRE_FUZZ_SEED ?? randomInt(2 ** 31));

if (!(seconds > 0)) {
  throw new Error(
    `TENSORWIRE_FUZZ_SECONDS is "${process.env.TENSORWIRE_FUZZ_SECONDS}"; give a number of seconds above 0`,
  );
}
if (!Number.isInteger(seed)) {
  throw new Error(
    `TENSORWIRE_FUZZ_SEED is "${process.env.TENSORWIRE_FUZZ_SEED}"; give the whole number of the run to repeat`,
  );
}

/** How to repeat a run. */
export const repeatedBy = `TENSORWIRE_FUZZ_SEED=${seed}`;

// An exception that nobody catches ends the process before anything else could be said.
process.on("uncaughtExceptionMonitor", () => {
  process.stderr.write(`\nfuzz: repeat with ${repeatedBy}\n`);
});

/**
 * Holds a property against random values until its share of the time is over, and waits for the run
 * that is under way then; the seed is in the log.
 *
 * @param share - of the whole time, 0 to 1
 * @returns how many values were tried
 * @throws Error of fast-check with the smallest value found for which `holds` rejects
 */
export async function fuzz<Value>(
  t: Pick<ExecutionContext<unknown>, "log">,
  share: number,
  values: Arbitrary<Value>,
  holds: (value: Value) => Promise<void>,
): Promise<number> {
  t.log(repeatedBy);
  let underWay: Promise<void> = Promise.resolve();
  let runs = 0;
  const property = fc.asyncProperty(values, (value) => {
    runs++;
    underWay = holds(value);
    return underWay;
  });
  await fc.assert(property, {
    seed,
    numRuns: 1e9,
    interruptAfterTimeLimit: seconds * 1000 * share,
    markInterruptAsFailure: false,
    includeErrorInReport: true,
  });
  await underWay;
  return runs;
}
