import type { TraceStamp } from "../observability/call-trace.ts";
import type { Execution } from "./executor.ts";

/**
 * Moments of a call that was answered, in ms on the monotonic clock. One that was answered from the cache
 * has none of a run.
 *
 * @param arrived - when the request came
 * @param queued - when it was decoded
 * @param computed - when its outputs were there
 * @param ended - when its answer was encoded
 */
export function answeredStamps(
  { startedMs, inferNs, fromCache }: Pick<Execution, "startedMs" | "inferNs" | "fromCache">,
  arrived: number,
  queued: number,
  computed: number,
  ended: number,
): readonly TraceStamp[] {
  const begin: TraceStamp[] = [
    ["REQUEST_START", arrived],
    ["QUEUE_START", queued],
  ];
  const end: TraceStamp[] = [
    ["INFER_RESPONSE_COMPLETE", ended],
    ["REQUEST_END", ended],
  ];
  if (fromCache) return [...begin, ...end];
  // What passes between the start of a run and the model itself is the handing over of the inputs.
  const begun = Math.max(computed - inferNs / 1e6, startedMs);
  return [
    ...begin,
    ["COMPUTE_START", startedMs],
    ["COMPUTE_INPUT_END", begun],
    ["COMPUTE_OUTPUT_START", computed],
    ["COMPUTE_END", ended],
    ...end,
  ];
}

/** Moments of a call that failed. */
export function failedStamps(arrived: number, ended: number): readonly TraceStamp[] {
  return [
    ["REQUEST_START", arrived],
    ["REQUEST_END", ended],
  ];
}
