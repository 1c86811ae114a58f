import { median } from "../statistics.ts";

/** How long to time a function. */
export interface TimingOptions {
  /** Calls in one repeat; enough that it takes some milliseconds. */
  readonly iterations: number;
  /** Repeats of which the median counts. */
  readonly repeats: number;
}

/** Repeats before the first that counts, for the compiler. */
const warmUpRepeats = 3;

/** Takes each result, so that the compiler cannot leave the call out. */
let sink: unknown;

/**
 * Times a synchronous function and gives the median of all repeats, in nanoseconds a call.
 * @param run - gets the number of the call, to vary what it works on
 */
export function nanosPerCall(
  run: (call: number) => unknown,
  { iterations, repeats }: TimingOptions,
): number {
  for (let repeat = 0; repeat < warmUpRepeats; repeat++) runAll(run, iterations);
  return median(
    Array.from({ length: repeats }, () => {
      const begun = process.hrtime.bigint();
      runAll(run, iterations);
      return Number(process.hrtime.bigint() - begun) / iterations;
    }),
  );
}

function runAll(run: (call: number) => unknown, iterations: number): void {
  for (let call = 0; call < iterations; call++) sink = run(call);
  // A read keeps the stores.
  if (sink === runAll) throw new Error("a timed function gave this one");
}

/** Times functions and prints a line for each: the name and nanoseconds a call. */
export function timeFunctions(
  functions: Readonly<Record<string, (call: number) => unknown>>,
  options: TimingOptions,
): void {
  const width = Math.max(...Object.keys(functions).map((name) => name.length));
  for (const [name, run] of Object.entries(functions)) {
    const nanos = nanosPerCall(run, options);
    console.log(`${name.padEnd(width)}  ${nanos.toPrecision(4).padStart(9)} ns`);
  }
}
