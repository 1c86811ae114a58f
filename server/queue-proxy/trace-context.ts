/** Place of a call in a trace. */
export interface TraceParent {
  /** 32 and 16 digits of hexadecimal in lower case, not all of them 0. */
  readonly traceId: string;
  readonly spanId: string;
  readonly sampled: boolean;
}

/** A call's own place in its trace, and that of its caller. */
export interface CallTrace extends TraceParent {
  readonly parent: TraceParent | undefined;
}

const pattern = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;

/**
 * Reads a `traceparent`; `undefined` for one that is not valid.
 *
 * @see https://www.w3.org/TR/trace-context/#traceparent-header
 */
export function readTraceParent(value: string): TraceParent | undefined {
  const [, version, traceId, spanId, flags, more] = pattern.exec(value) ?? [];
  if (version === undefined || version === "ff") return undefined;
  // Later versions may have more behind; this one has not.
  if (version === "00" && more !== undefined) return undefined;
  if (/^0+$/.test(traceId!) || /^0+$/.test(spanId!)) return undefined;
  return { traceId: traceId!, spanId: spanId!, sampled: (Number.parseInt(flags!, 16) & 1) === 1 };
}

/** The `traceparent` of a call, of the version that {@link readTraceParent} knows. */
export function traceParentText({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
}
