import { decideBatch } from "../scheduling/batch-policy.ts";
import type { Instance } from "./sequence.ts";
import type { SequencePlan, SequenceStrategy } from "./sequence-plan.ts";
import type { Step } from "./step.ts";

/** What to do with the calls that an instance could have now. */
export type NextRun =
  /** Run them; a row is undefined if its sequence has no call that fits. */
  | { readonly kind: "run"; readonly rows: readonly (Step | undefined)[] }
  /** Look again after so many ms, or when another call has come. */
  | { readonly kind: "wait"; readonly ms: number };

/** Whether two calls, each the next of its sequence, can share a run. */
export type CanJoin = (one: Step, other: Step) => boolean;

/** The next run of an instance; `undefined` if no call is ready. */
export function nextRun(
  instance: Instance,
  { strategy, maxRows, slotsPerInstance }: SequencePlan,
  canJoin: CanJoin,
  nowMs: number,
): NextRun | undefined {
  const [oldest] = instance.ready;
  const first = oldest?.steps.first;
  if (!first) return undefined;
  const waitedMs = nowMs - first.readyMs;
  switch (strategy.kind) {
    case "direct": {
      const ms = directDelay(strategy, instance.ready.size / slotsPerInstance, waitedMs);
      if (ms > 0) return { kind: "wait", ms };
      return { kind: "run", rows: maxRows === 1 ? [first] : directRows(instance, first, canJoin) };
    }
    case "oldest":
      return oldestRun(instance, { ...strategy.batch, maxRows }, first, canJoin, waitedMs);
  }
}

type Direct = Extract<SequenceStrategy, { readonly kind: "direct" }>;

/** Time to hold a run back, as Triton does: until enough slots have a call, or the oldest waited enough. */
function directDelay(
  { maxDelayMs, minimumUtilization }: Direct,
  utilization: number,
  waitedMs: number,
): number {
  // The configuration holds a float: 3 of 5 rows are as much as 0.6 of them.
  const enough = Math.fround(utilization) >= Math.fround(minimumUtilization);
  return maxDelayMs === 0 || enough ? 0 : maxDelayMs - waitedMs;
}

/** Each slot is a row; those above the last one with a call are left out. */
function directRows(
  { slots, ready }: Instance,
  first: Step,
  canJoin: CanJoin,
): readonly (Step | undefined)[] {
  const rows = slots.map((sequence) => {
    const step = sequence && ready.has(sequence) ? sequence.steps.first : undefined;
    return step && (step === first || canJoin(first, step)) ? step : undefined;
  });
  while (rows.at(-1) === undefined) rows.pop();
  return rows;
}

function oldestRun(
  { ready }: Instance,
  policy: Parameters<typeof decideBatch>[0],
  first: Step,
  canJoin: CanJoin,
  waitedMs: number,
): NextRun {
  const alike: Step[] = [];
  let closed = false;
  for (const { steps } of ready) {
    const step = steps.first!;
    closed = step !== first && !canJoin(first, step);
    if (closed) break;
    alike.push(step);
    closed = step.request.solo;
    // One more than fits shows that the batch is full.
    if (closed || alike.length > policy.maxRows) break;
  }
  const rows = new Array<number>(alike.length).fill(1);
  const decision = decideBatch(policy, rows, closed, waitedMs);
  if (decision.kind === "wait") return decision;
  return { kind: "run", rows: alike.slice(0, decision.calls) };
}
