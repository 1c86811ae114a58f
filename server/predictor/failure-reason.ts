import { isReason, type Reason } from "../errors/registry.ts";

/** Why requests fail, as Triton counts them. */
export const tritonFailures = ["REJECTED", "CANCELED", "BACKEND", "OTHER"] as const;
export type TritonFailure = (typeof tritonFailures)[number];

const failures: Partial<Record<Reason, TritonFailure>> = {
  QUEUE_FULL: "REJECTED",
  QUEUE_TIMEOUT: "REJECTED",
  SEQUENCE_TIMEOUT: "REJECTED",
  SEQUENCE_CANCELLED: "CANCELED",
  CALL_CANCELLED: "CANCELED",
  DEADLINE_EXCEEDED: "CANCELED",
  MODEL_EXECUTION_FAILED: "BACKEND",
  MODEL_INPUT_REFUSED: "BACKEND",
  WORKER_LOST: "BACKEND",
  SEQUENCE_LOST: "BACKEND",
};

/** What Triton calls a failure of a call; what is not listed here is a wrong request or our own fault. */
export function tritonFailure(reason: string): TritonFailure {
  return (isReason(reason) ? failures[reason] : undefined) ?? "OTHER";
}
