import type { AdaptivePolicy } from "./adaptive-limit.ts";

/** How calls of a class are treated. */
export interface ClassPolicy {
  readonly name: string;
  /** Served before all levels with a larger number; from 0. */
  readonly level: number;
  /** Share of the level, as against other callers in it; above 0. */
  readonly weight: number;
  /** Calls of the class that the server works on at once. */
  readonly concurrency: number;
  /** Calls of the class that wait. */
  readonly maxWaiting: number;
  /** Time that a call waits at most, in ms. */
  readonly maxWaitMs: number;
  /** Cost a second that the whole class may have, and at once; infinite without a limit. */
  readonly rate: number;
  readonly burst: number;
  /** The same for each tenant in it. */
  readonly tenantRate: number;
  readonly tenantBurst: number;
}

/** Which of the calls of one tenant is served first. */
export type QueueOrder =
  /** The one that has waited longest. */
  | "fifo"
  /**
   * The newest, once the oldest has waited longer than `lifoAfterMs`: under overload some calls are in
   * time then, in place of all being late.
   */
  | "lifo-under-overload";

/** How all calls are treated. */
export interface QueuePolicy {
  /** Calls that the server works on at once. */
  readonly capacity: number;
  /** Follow the server in place of a capacity that is without a limit; `undefined`: do not. */
  readonly adaptive: AdaptivePolicy | undefined;
  /** Calls that wait, and bytes of content that wait with them. */
  readonly maxWaiting: number;
  readonly maxWaitingBytes: number;
  /** Cost a second of all calls, and at once. */
  readonly rate: number;
  readonly burst: number;
  /** Time after which a call that waits rises by a level, in ms. */
  readonly agingMs: number;
  readonly order: QueueOrder;
  readonly lifoAfterMs: number;
  /**
   * CoDel (RFC 8289): once calls have waited longer than `targetMs` for `intervalMs`, some are shed, more
   * and more, until they wait less. Infinite: off.
   */
  readonly codelTargetMs: number;
  readonly codelIntervalMs: number;
  /** Tenants of a class that are told apart; those that come beyond share one place. */
  readonly maxTenants: number;
}

/** A class without limits of its own. */
export const plainClass: ClassPolicy = {
  name: "default",
  level: 0,
  weight: 1,
  concurrency: Number.POSITIVE_INFINITY,
  maxWaiting: Number.POSITIVE_INFINITY,
  maxWaitMs: Number.POSITIVE_INFINITY,
  rate: Number.POSITIVE_INFINITY,
  burst: Number.POSITIVE_INFINITY,
  tenantRate: Number.POSITIVE_INFINITY,
  tenantBurst: Number.POSITIVE_INFINITY,
};

/** Knative's breaker: so many calls at once, ten times as many wait. */
export function breakerPolicy(concurrency: number): QueuePolicy {
  const bounded = concurrency > 0;
  return {
    capacity: bounded ? concurrency : Number.POSITIVE_INFINITY,
    adaptive: undefined,
    maxWaiting: bounded ? concurrency * 10 : Number.POSITIVE_INFINITY,
    maxWaitingBytes: Number.POSITIVE_INFINITY,
    rate: Number.POSITIVE_INFINITY,
    burst: Number.POSITIVE_INFINITY,
    agingMs: Number.POSITIVE_INFINITY,
    order: "fifo",
    lifoAfterMs: Number.POSITIVE_INFINITY,
    codelTargetMs: Number.POSITIVE_INFINITY,
    codelIntervalMs: 100,
    maxTenants: 1024,
  };
}
