import type { LoadPlan } from "./load-plan.ts";

/** What brings a model back into memory, and what became of the last try. */
export interface Recall {
  readonly plan: LoadPlan;
  /** What served before the model's files changed; loaded if the plan fails. */
  readonly before?: LoadPlan | undefined;
  /** Tries in a row that failed. */
  readonly failures: number;
  /** Time until which calls get the failure, in ms on the monotonic clock. */
  readonly notBeforeMs: number;
}

/** A recall that was not tried yet. */
export function untried(plan: LoadPlan, before?: LoadPlan): Recall {
  return { plan, before, failures: 0, notBeforeMs: 0 };
}

/** Waits after a failure, in ms: doubled each time, from the first to the longest. */
const firstWaitMs = 1_000;
const longestWaitMs = 60_000;

/** The recall after a try that failed. */
export function failedRecall(recall: Recall, nowMs: number): Recall {
  const failures = recall.failures + 1;
  const waitMs = Math.min(longestWaitMs, firstWaitMs * 2 ** (failures - 1));
  return { ...recall, failures, notBeforeMs: nowMs + waitMs };
}
