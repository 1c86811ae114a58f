import type { TraceParent } from "./trace-context.ts";

/** Which calls are traced. */
export interface SpanSampling {
  /** Share of traces, from 0 to 1. */
  readonly rate: number;
  /** What counts if the caller has a trace: its decision, or the rate too. */
  readonly of: "caller" | "rate";
}

/** Whether a call is traced: the same for all spans of a trace that are decided by the same rate. */
export function isSampled(
  { rate, of }: SpanSampling,
  traceId: string,
  parent: TraceParent | undefined,
): boolean {
  if (parent !== undefined && of === "caller") return parent.sampled;
  if (rate >= 1) return true;
  // The right half of the identifier is the random one; its first 52 bits are a number without loss.
  return Number.parseInt(traceId.slice(16, 29), 16) / 2 ** 52 < rate;
}
