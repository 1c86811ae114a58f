import type { CallAbort } from "../../rpc/call-context.ts";
import type { InferParameterValue } from "../../rpc/infer-messages.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { Execution } from "../executor.ts";
import type { AnswerOrder, AnswerPlace } from "../scheduling/answer-order.ts";
import type { RunUnderWay, ScheduledResult } from "../scheduling/scheduler.ts";
import type { Sequence } from "./sequence.ts";

/** Parameters of a request, as they came. */
export type StepParameters = Readonly<Record<string, InferParameterValue>>;

/** What a run is told of a call. */
export interface StepDetail {
  readonly parameters: StepParameters;
  /** Takes the answers of a decoupled call, which has no outputs at its end. */
  readonly take?: ((answer: Execution) => Promise<void>) | undefined;
}

/** What a call asks of a model with sequences. */
export interface StepRequest extends StepDetail {
  readonly id: bigint | string;
  /** The first call of the sequence. */
  readonly start: boolean;
  /** The last call of the sequence. */
  readonly end: boolean;
  readonly inputs: readonly Tensor[];
  /** Tensors that tell the model of the sequence. */
  readonly controls: readonly Tensor[];
  readonly outputNames: readonly string[];
  /** Time that the sequence may wait for a slot with this call, in ms; 0 for any. */
  readonly timeoutMs: number;
  /** True if it shares no run. */
  readonly solo: boolean;
}

/** A call of a sequence, from its arrival to its answer; its queue owns the last two fields. */
export class Step {
  readonly sequence: Sequence;
  readonly request: StepRequest;
  readonly call: CallAbort;
  readonly arrivedMs: number;
  readonly resolve: (result: ScheduledResult) => void;
  readonly reject: (error: unknown) => void;
  /** When all calls before it in its sequence were answered, in ms. */
  readyMs = 0;
  /** What the model is fed, once the states are known. */
  tensors: readonly Tensor[] | undefined = undefined;
  /** Its place among the answers of its instance, where their order is kept. */
  place: { readonly order: AnswerOrder; readonly at: AnswerPlace } | undefined = undefined;
  /** Nobody waits for the answer any more. */
  gone = false;
  /** Set while the model has it. */
  run: StepsUnderWay | undefined = undefined;
  previous: Step | undefined = undefined;
  next: Step | undefined = undefined;

  constructor(
    sequence: Sequence,
    request: StepRequest,
    call: CallAbort,
    arrivedMs: number,
    answer: {
      readonly resolve: (result: ScheduledResult) => void;
      readonly reject: (error: unknown) => void;
    },
  ) {
    this.sequence = sequence;
    this.request = request;
    this.call = call;
    this.arrivedMs = arrivedMs;
    this.resolve = answer.resolve;
    this.reject = answer.reject;
  }
}

/** A run of the model, until the last of its calls has left. */
export class StepsUnderWay implements RunUnderWay<StepDetail> {
  readonly #steps: readonly Step[];
  #listener: (() => void) | undefined;

  constructor(steps: readonly Step[]) {
    this.#steps = steps;
  }

  get details(): readonly StepDetail[] {
    return this.#steps.map(({ request }) => request);
  }

  onGone(listener: () => void): void {
    this.#listener = listener;
  }

  /** One of its calls has left. */
  left(): void {
    if (this.#steps.every(({ gone }) => gone)) this.#listener?.();
  }
}

/** The waiting calls of a sequence, in order. */
export class StepQueue {
  #first: Step | undefined;
  #last: Step | undefined;
  #size = 0;

  get first(): Step | undefined {
    return this.#first;
  }

  get size(): number {
    return this.#size;
  }

  push(step: Step): void {
    step.previous = this.#last;
    if (this.#last) this.#last.next = step;
    else this.#first = step;
    this.#last = step;
    this.#size++;
  }

  /** Takes the first one out. */
  shift(): Step {
    const step = this.#first;
    if (!step) throw new Error("the queue of a sequence is empty");
    this.#unlink(step);
    return step;
  }

  /** Takes out a call and those behind it, up to the next that starts the sequence anew. */
  cut(from: Step): Step[] {
    const taken: Step[] = [];
    for (let step: Step | undefined = from; step; ) {
      const { next }: Step = step;
      this.#unlink(step);
      taken.push(step);
      step = next?.request.start ? undefined : next;
    }
    return taken;
  }

  *[Symbol.iterator](): Generator<Step> {
    for (let step = this.#first; step; step = step.next) yield step;
  }

  #unlink(step: Step): void {
    const { previous, next } = step;
    if (previous) previous.next = next;
    else this.#first = next;
    if (next) next.previous = previous;
    else this.#last = previous;
    step.previous = undefined;
    step.next = undefined;
    this.#size--;
  }
}
