import type { ExecutionContext } from "ava";
import { until } from "./until.ts";

/** Calls that never cease until they are told to, each accounted for. */
export interface Callers {
  /** How often each answer came. */
  readonly answers: ReadonlyMap<number, number>;
  /** How often each error came, by its message. */
  readonly errors: ReadonlyMap<string, number>;
  /** Waits until so many more calls have ended. */
  more(calls: number): Promise<void>;
  /** Begins no more, and waits for those under way. */
  stop(): Promise<{ readonly begun: number; readonly ended: number }>;
}

/**
 * Starts callers.
 *
 * @param ask - makes a call, and gives what it was answered
 * @param width - calls at once
 */
export function startCallers(
  t: Pick<ExecutionContext, "teardown">,
  ask: () => Promise<number>,
  width: number,
): Callers {
  const answers = new Map<number, number>();
  const errors = new Map<string, number>();
  const count = <K>(counts: Map<K, number>, key: K): void => {
    counts.set(key, (counts.get(key) ?? 0) + 1);
  };
  let going = true;
  let begun = 0;
  let ended = 0;
  const caller = async (): Promise<void> => {
    while (going) {
      begun++;
      try {
        count(answers, await ask());
      } catch (error) {
        count(errors, (error as Error).message);
      }
      ended++;
    }
  };
  const all = Array.from({ length: width }, caller);
  t.teardown(() => {
    going = false;
  });
  return {
    answers,
    errors,
    async more(calls) {
      const goal = ended + calls;
      await until(() => ended >= goal);
    },
    async stop() {
      going = false;
      await Promise.all(all);
      return { begun, ended };
    },
  };
}
