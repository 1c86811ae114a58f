import type { Flow } from "./flow.ts";

/** Why a call was not sent to the server. */
export type ShedReason =
  /** The queue, or the part of it that the class may have, is full. */
  | "queue-full"
  /** Content that waits takes the room. */
  | "queue-bytes"
  /** A call of a higher level took its place in a full queue. */
  | "displaced"
  /** More than the rate allows. */
  | "rate"
  /** It waited longer than its class allows. */
  | "max-wait"
  /** Calls wait too long, and this one is shed so that the others wait less. */
  | "codel"
  /** Its deadline has passed. */
  | "deadline";

/** Reasons by which metrics count. */
export const shedReasons = [
  "queue-full",
  "queue-bytes",
  "displaced",
  "rate",
  "max-wait",
  "codel",
  "deadline",
] as const satisfies readonly ShedReason[];

/** A call as the queue sees it. Links and times are the queue's. */
export interface QueuedCall {
  /** Whose call it is. */
  readonly flow: Flow;
  /** What it counts in rates and shares; 1 is an ordinary call. */
  readonly cost: number;
  /** By the queue's clock; infinite without one. */
  readonly deadlineAt: number;
  /** When it was put into the queue; -1 while it is not in it. */
  queuedAt: number;
  /** Neighbours among the calls of its flow, and of its level. */
  flowBefore: QueuedCall | undefined;
  flowAfter: QueuedCall | undefined;
  levelBefore: QueuedCall | undefined;
  levelAfter: QueuedCall | undefined;
  /** Content that waits with it, in bytes. */
  waitingBytes: number;
  /** It may go to the server; called at most once. */
  admit(): void;
  /**
   * It will not go to the server.
   *
   * @param retryAfterMs - time after which another attempt has a chance
   */
  shed(reason: ShedReason, retryAfterMs: number): void;
}
