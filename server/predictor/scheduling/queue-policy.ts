/** What a level of a model's queue accepts, and for how long (Triton's ModelQueuePolicy). */
export interface QueuePolicy {
  /** Calls that may wait in the level; 0 leaves it to the bound of the whole queue. */
  readonly maxSize: number;
  /** Time that a call may wait for the model, in ms; 0 for as long as its deadline allows. */
  readonly timeoutMs: number;
  /** Whether a call may shorten that time by its parameter `timeout`. */
  readonly allowOverride: boolean;
  /** What becomes of a call that waited too long: it is refused, or served after all others of its level. */
  readonly onTimeout: "reject" | "delay";
}

/** The levels of a queue and their policies. */
export interface QueuePolicies {
  /** Priority levels, 1 being served first; 1 for a queue without priorities. */
  readonly levels: number;
  /** Level of a call that names none. */
  readonly defaultLevel: number;
  readonly defaultPolicy: QueuePolicy;
  /** Policies of single levels, in place of the default. */
  readonly byLevel: ReadonlyMap<number, QueuePolicy>;
  /**
   * Time in ms for which a call waits to be treated as one level higher, against starvation; 0 serves the
   * levels strictly.
   */
  readonly agingMs: number;
}

/** A queue without priorities or timeouts. */
export const plainQueue: QueuePolicies = {
  levels: 1,
  defaultLevel: 1,
  defaultPolicy: { maxSize: 0, timeoutMs: 0, allowOverride: false, onTimeout: "reject" },
  byLevel: new Map(),
  agingMs: 0,
};

/** Level of a call: the one it asks for, if there is such a level, otherwise the default. */
export function levelOf({ levels, defaultLevel }: QueuePolicies, priority: number): number {
  return priority >= 1 && priority <= levels ? priority : defaultLevel;
}

/** Policy of a level. */
export function policyOf({ byLevel, defaultPolicy }: QueuePolicies, level: number): QueuePolicy {
  return byLevel.get(level) ?? defaultPolicy;
}

/**
 * Time that a call may wait, in ms; 0 for no limit. A call may ask for less than the policy gives, not
 * for more.
 *
 * @param askedMs - what the call asks for, 0 for nothing
 */
export function waitLimit({ timeoutMs, allowOverride }: QueuePolicy, askedMs: number): number {
  if (!allowOverride || askedMs <= 0) return timeoutMs;
  return timeoutMs === 0 ? askedMs : Math.min(timeoutMs, askedMs);
}
