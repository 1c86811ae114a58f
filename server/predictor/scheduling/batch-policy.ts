/** How calls of a model are gathered into batches. */
export interface BatchPolicy {
  /** Rows of a batch at most. */
  readonly maxRows: number;
  /** Sizes at which a batch is worth sending before {@link maxDelayMs} is over, rising; often none. */
  readonly preferredRows: readonly number[];
  /** Time for which a call may wait for others while the model is free, in ms; 0 sends what is there. */
  readonly maxDelayMs: number;
}

/** What is said of a model's batches where how many rows they have at most is for the model to show. */
export interface FreeBatching {
  /** Rows of a batch at most; as many as pay without it. */
  readonly maxRows?: number;
  /** Time for which a call may wait for others while the model is free, in ms; 0 without it. */
  readonly maxDelayMs?: number;
}

/** What to do with calls that wait while the model is free. */
export type BatchDecision =
  /** Send so many of the first calls as one batch. */
  | { readonly kind: "send"; readonly calls: number }
  /** Look again after so many ms, or when another call has come. */
  | { readonly kind: "wait"; readonly ms: number };

/**
 * Decides as Triton's dynamic batcher does: the largest preferred size that the waiting rows reach, and
 * no more than the maximum; without a preferred size all that is there. A batch that is not full is held
 * back until its oldest call has waited for the delay.
 *
 * @param rows - rows of the waiting calls that can be one batch, in order; at least one
 * @param closed - true if a call of another kind stands behind them, so that no more can join
 * @param waitedMs - how long the oldest of them has waited
 */
export function decideBatch(
  { maxRows, preferredRows, maxDelayMs }: BatchPolicy,
  rows: readonly number[],
  closed: boolean,
  waitedMs: number,
): BatchDecision {
  let total = 0;
  let calls = 0;
  let preferredCalls = 0;
  let full = false;
  for (const each of rows) {
    if (calls > 0 && total + each > maxRows) {
      full = true;
      break;
    }
    total += each;
    calls++;
    if (preferredRows.includes(total)) preferredCalls = calls;
    if (total >= maxRows) {
      full = true;
      break;
    }
  }
  const largest = preferredRows.at(-1);
  const reached = largest !== undefined && total >= largest && preferredCalls > 0;
  if (full || closed || reached || waitedMs >= maxDelayMs) {
    return { kind: "send", calls: preferredCalls > 0 && !closed ? preferredCalls : calls };
  }
  return { kind: "wait", ms: maxDelayMs - waitedMs };
}
