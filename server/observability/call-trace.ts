/** Moments of a call, under Triton's names. */
export type TraceMoment =
  | "REQUEST_START"
  | "QUEUE_START"
  | "COMPUTE_START"
  | "COMPUTE_INPUT_END"
  | "COMPUTE_OUTPUT_START"
  | "COMPUTE_END"
  | "INFER_RESPONSE_COMPLETE"
  | "REQUEST_END";

/** A moment on the clock of `performance.now()`, in ms. */
export type TraceStamp = readonly [moment: TraceMoment, ms: number];

/** The model that a traced call is for. */
export interface TracedModel {
  readonly name: string;
  /** A whole number as text. */
  readonly version: string;
}

/** What became of one call, and of those that it made of other models. */
export class CallTrace {
  readonly model: TracedModel;
  /** The caller's id of the request; empty for none. */
  readonly requestId: string;
  /** From 1; the same for no two calls of a process. */
  readonly id: number;
  /** Of the call that made this one; 0 for none. */
  readonly parentId: number;
  /** In the order in which they were noted. */
  stamps: readonly TraceStamp[] = [];
  readonly #root: CallTrace;
  /** Of the first call: all that ended, in the order of their ends. */
  readonly #ended: CallTrace[] = [];
  readonly #onEnd: ((calls: readonly CallTrace[]) => void) | undefined;
  #isOver = false;

  /** @param onEnd - told once when the first call is over; not needed for the others */
  constructor(
    model: TracedModel,
    requestId: string,
    parent: CallTrace | undefined,
    onEnd?: (calls: readonly CallTrace[]) => void,
  ) {
    this.model = model;
    this.requestId = requestId;
    this.id = nextId++;
    this.parentId = parent?.id ?? 0;
    this.#root = parent ? parent.#root : this;
    this.#onEnd = onEnd;
  }

  /** The trace of a call that this one makes of another model. */
  child(model: TracedModel): CallTrace {
    return new CallTrace(model, this.requestId, this);
  }

  /** The call is over. One that ends after the call that made it, such as a cancelled one, is left out. */
  end(stamps: readonly TraceStamp[]): void {
    const root = this.#root;
    if (root.#isOver) return;
    this.stamps = stamps;
    root.#ended.push(this);
    if (root !== this) return;
    root.#isOver = true;
    // The call itself comes first, as it began first.
    root.#ended.reverse();
    this.#onEnd?.(root.#ended);
  }
}

let nextId = 1;
