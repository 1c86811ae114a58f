/** A span of a server that is over. */
export interface FinishedSpan {
  /** 32 and 16 digits of hexadecimal. */
  readonly traceId: string;
  readonly spanId: string;
  /** Of the caller, if it said one. */
  readonly parentSpanId: string | undefined;
  readonly name: string;
  /** By performance.now(). */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** Why the server failed; `undefined` if it did not. */
  readonly error: string | undefined;
}

/** Takes spans that are over; never waits. */
export interface SpanSink {
  end(span: FinishedSpan): void;
}
