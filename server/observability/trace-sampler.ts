import { CallTrace, type TracedModel } from "./call-trace.ts";
import type { TraceSettings } from "./trace-settings.ts";

/** Takes what was traced: a file now; an exporter of OpenTelemetry would be another one. */
export interface TraceSink {
  /** A call, and those that it made of other models, are over. */
  write(calls: readonly CallTrace[]): void;
  /** No call comes any more for now; what is held back is to be written. */
  flush(): void;
}

/** Chooses the calls that are traced by one set of settings. */
export class TraceSampler {
  readonly settings: TraceSettings;
  readonly #sink: TraceSink;
  #seen = 0;
  #remaining: number;
  /** Traced calls that are under way. */
  #open = 0;

  constructor(settings: TraceSettings, sink: TraceSink) {
    this.settings = settings;
    this.#sink = sink;
    this.#remaining = settings.count;
  }

  /** Calls that are still to be traced; -1 for no end. */
  get remaining(): number {
    return this.#remaining;
  }

  /** A call begins; `undefined` if it is not traced. */
  begin(model: TracedModel, requestId: string): CallTrace | undefined {
    if (this.#remaining === 0) return undefined;
    this.#seen++;
    if (this.#seen % this.settings.rate !== 0) return undefined;
    if (this.#remaining > 0) this.#remaining--;
    this.#open++;
    return new CallTrace(model, requestId, undefined, this.#ended);
  }

  /** No other calls are taken; what is under way is traced to its end. */
  retire(): void {
    this.#remaining = 0;
    this.#sink.flush();
  }

  readonly #ended = (calls: readonly CallTrace[]): void => {
    this.#open--;
    this.#sink.write(calls);
    if (this.#remaining === 0 && this.#open === 0) this.#sink.flush();
  };
}
