import { queueFull, workerLost } from "../../errors/model-errors.ts";
import {
  sequenceCancelled,
  sequenceLost,
  sequenceNotStarted,
  sequenceTimeout,
} from "../../errors/sequence-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import { abortError } from "../abort-error.ts";
import type { ScheduledResult } from "../scheduling/scheduler.ts";
import { Backlog } from "./backlog.ts";
import { IdleSequences } from "./idle-sequences.ts";
import { Instance, Sequence } from "./sequence.ts";
import {
  type EndedRun,
  SequenceRuns,
  type SequenceRunsOptions,
  type StepAnswer,
} from "./sequence-runs.ts";
import { Step, type StepRequest } from "./step.ts";

/** Why sequences came to an end. */
export const sequenceEnds = [
  "end",
  "restart",
  "idle",
  "cancelled",
  "timeout",
  "lost",
  "refused",
] as const;
export type SequenceEnd = (typeof sequenceEnds)[number];

/** What a {@link SequenceScheduler} acts on; tests give their own clock. */
export interface SequenceSchedulerOptions extends SequenceRunsOptions {
  /** Name of the model, for messages. */
  readonly model: string;
  readonly instances: number;
  /** Calls that may wait. */
  readonly limit: number;
}

/**
 * Gives a model the calls of sequences: those of one sequence in the order of their arrival, each when the one
 * before it was answered, and never two in one run. A sequence takes a slot of an instance with its first call
 * and keeps it until it ends; those beyond the slots wait and take one in the order of their arrival.
 *
 * A sequence ends with the call that says so, when it is without a call for too long, and with a call that is
 * cancelled or misses its deadline, because what the model would know from then on is not what the caller
 * thinks: the calls that wait behind it are refused. A start, in a sequence that is under way, begins anew.
 */
export class SequenceScheduler {
  readonly #options: SequenceSchedulerOptions;
  readonly #sequences = new Map<bigint | string, Sequence>();
  readonly #instances: readonly Instance[];
  readonly #runs: SequenceRuns;
  readonly #backlog: Backlog;
  readonly #idle: IdleSequences;
  readonly #ends: Record<SequenceEnd, number>;
  #waiting = 0;
  /** Calls that wait, run, or are to be run again. */
  #unanswered = 0;
  #closing = false;
  #onIdle: (() => void)[] = [];

  constructor(options: SequenceSchedulerOptions) {
    const { instances, plan } = options;
    const { strategy, slotsPerInstance } = plan;
    const order = strategy.kind === "oldest" && strategy.preserveOrder ? "kept" : "as computed";
    this.#options = options;
    this.#instances = Array.from(
      { length: instances },
      (_, index) => new Instance(index, slotsPerInstance, order),
    );
    this.#runs = new SequenceRuns(options, this.#instances, {
      begun: ({ sequence }) => {
        this.#waiting--;
        sequence.running = sequence.steps.shift();
      },
      answered: (step, answer, run) => this.#answered(step, answer, run),
      failed: (step, error) => this.#failed(step, error),
      ended: ({ sequence }) => {
        sequence.running = undefined;
        this.#goOn(sequence);
      },
      runEnded: () => this.#settled(),
    });
    this.#backlog = new Backlog(options, (sequence) => this.#timeOut(sequence));
    this.#idle = new IdleSequences(plan.idleMs, options, (sequence) => this.#expire(sequence));
    this.#ends = Object.fromEntries(sequenceEnds.map((end) => [end, 0])) as Record<
      SequenceEnd,
      number
    >;
  }

  /** Calls that wait. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Runs under way. */
  get running(): number {
    return this.#runs.running;
  }

  /** Sequences that have a slot. */
  get active(): number {
    return this.#sequences.size - this.#backlog.size;
  }

  /** Sequences that wait for a slot. */
  get backlog(): number {
    return this.#backlog.size;
  }

  /** Sequences that ended, by why. */
  get ends(): Readonly<Record<SequenceEnd, number>> {
    return this.#ends;
  }

  /**
   * Computes a call when its turn has come.
   *
   * @throws TensorwireError `SEQUENCE_NOT_STARTED`, `QUEUE_FULL`, `SEQUENCE_TIMEOUT`, `SEQUENCE_CANCELLED`,
   * `SEQUENCE_LOST`, `WORKER_LOST`, `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, or what the runner throws
   */
  run(call: CallAbort, request: StepRequest): Promise<ScheduledResult> {
    const { model, limit, now, plan } = this.#options;
    const { id, start } = request;
    const known = this.#sequences.get(id);
    if (!start && !known?.open) return Promise.reject(sequenceNotStarted(model, id, plan.idleMs));
    if (call.aborted) {
      if (!start) this.#breakOff(known!);
      return Promise.reject(abortError(call, "before the call reached the model"));
    }
    if (!known && this.#instances.every(({ up }) => !up)) return Promise.reject(workerLost(model));
    if (this.#waiting >= limit && !this.#runsAtOnce(known)) {
      return Promise.reject(queueFull(model, limit));
    }
    const sequence = known ?? new Sequence(id);
    if (!known) this.#sequences.set(id, sequence);
    if (start && sequence.open) this.#ends.restart++;
    return new Promise((resolve, reject) => {
      const step = new Step(sequence, request, call, now(), { resolve, reject });
      this.#accept(step);
      call.onAbort(() => this.#leave(step));
    });
  }

  /** An instance has forgotten its sequences; the runs that it had fail, which ends theirs. */
  lose(instance: number): void {
    const { model } = this.#options;
    const lost = this.#instances[instance]!;
    lost.up = false;
    for (const sequence of [...lost.slots]) {
      if (!sequence || sequence.running) continue;
      // One that has not begun yet begins elsewhere, or later.
      if (sequence.steps.first?.request.start) this.#goOn(sequence);
      else this.#abandon(sequence, "lost", () => sequenceLost(model, sequence.id));
    }
    this.#runs.lookAtTurnEnd();
    this.#settled();
  }

  /** An instance is there again, and takes sequences that wait. */
  restore(instance: number): void {
    const restored = this.#instances[instance]!;
    restored.up = true;
    while (restored.sequences < this.#options.plan.slotsPerInstance) {
      const next = this.#backlog.shift();
      if (!next) break;
      this.#seat(next, restored);
    }
    this.#runs.lookAtTurnEnd();
  }

  /** Resolves once nothing runs or waits. Sequences without a call end if others wait for their slots. */
  idle(): Promise<void> {
    this.#closing = true;
    if (this.#backlog.size > 0) this.#idle.expireAll();
    if (this.#unanswered === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  /** Forgets all sequences; call {@link idle} before. */
  close(): void {
    this.#idle.close();
    this.#backlog.close();
    this.#runs.close();
    for (const sequence of this.#sequences.values()) this.#options.runner.forget(sequence);
    this.#sequences.clear();
  }

  /** Whether a call would be run at the end of the turn, so that it does not wait. */
  #runsAtOnce(sequence: Sequence | undefined): boolean {
    const slot = sequence?.slot;
    if (sequence && (!slot || sequence.running || sequence.steps.size > 0)) return false;
    const instance = slot ? slot.instance : this.#emptiest();
    return instance !== undefined && instance.runs < this.#options.runsPerInstance;
  }

  #accept(step: Step): void {
    const { sequence, request } = step;
    const isNext = sequence.steps.size === 0 && !sequence.running;
    sequence.steps.push(step);
    sequence.open = !request.end;
    this.#waiting++;
    this.#unanswered++;
    this.#idle.delete(sequence);
    if (sequence.slot) {
      if (isNext) this.#markReady(sequence);
    } else if (!this.#backlog.has(sequence)) this.#place(sequence);
    else if (request.timeoutMs > 0) this.#backlog.add(sequence);
    this.#runs.lookAtTurnEnd();
  }

  /** Gives a sequence a slot, on the instance that has the fewest, or puts it at the end of the backlog. */
  #place(sequence: Sequence): void {
    const instance = this.#emptiest();
    if (instance) this.#seat(sequence, instance);
    else this.#backlog.add(sequence);
  }

  #emptiest(): Instance | undefined {
    let best: Instance | undefined;
    for (const instance of this.#instances) {
      if (!instance.up || instance.sequences >= this.#options.plan.slotsPerInstance) continue;
      if (!best || instance.sequences < best.sequences) best = instance;
    }
    return best;
  }

  #seat(sequence: Sequence, instance: Instance): void {
    instance.seat(sequence);
    if (sequence.steps.size > 0) this.#markReady(sequence);
  }

  /** Takes a sequence's slot, and gives it to the one that waits longest. */
  #unseat(sequence: Sequence): void {
    const { slot } = sequence;
    if (!slot) return;
    slot.instance.unseat(sequence, slot);
    if (!slot.instance.up) return;
    const next = this.#backlog.shift();
    if (next) this.#seat(next, slot.instance);
  }

  #markReady(sequence: Sequence): void {
    sequence.steps.first!.readyMs = this.#options.now();
    sequence.slot!.instance.ready.add(sequence);
  }

  /** Nothing of the sequence waits or runs any more, and nothing comes. */
  #remove(sequence: Sequence): void {
    this.#sequences.delete(sequence.id);
    this.#idle.delete(sequence);
    this.#backlog.delete(sequence);
    this.#options.runner.forget(sequence);
    this.#unseat(sequence);
  }

  /** What is next in a sequence whose last call was answered or left. */
  #goOn(sequence: Sequence): void {
    const next = sequence.steps.first;
    if (!next) {
      if (sequence.open) this.#rest(sequence);
      else this.#remove(sequence);
      return;
    }
    const { slot } = sequence;
    if (next.request.start && slot && (this.#backlog.size > 0 || !slot.instance.up)) {
      // It is another sequence, of the same id: those that came before it go first.
      this.#options.runner.forget(sequence);
      this.#unseat(sequence);
      this.#place(sequence);
      return;
    }
    if (slot) this.#markReady(sequence);
  }

  #rest(sequence: Sequence): void {
    if (this.#closing && this.#backlog.size > 0) this.#expire(sequence);
    else this.#idle.add(sequence);
  }

  #expire(sequence: Sequence): void {
    sequence.open = false;
    this.#ends.idle++;
    this.#remove(sequence);
    this.#runs.lookAtTurnEnd();
  }

  /** Refuses a sequence that waited too long for a slot, with all of its calls. */
  #timeOut(sequence: Sequence): void {
    const { model, now } = this.#options;
    this.#ends.timeout++;
    this.#backlog.delete(sequence);
    for (let first = sequence.steps.first; first; first = sequence.steps.first) {
      for (const step of this.#cut(sequence, first)) {
        this.#reject(step, sequenceTimeout(model, sequence.id, now() - step.arrivedMs));
      }
    }
    this.#remove(sequence);
    this.#settled();
  }

  /** A call came too late to be taken: its sequence ends behind those that wait. */
  #breakOff(sequence: Sequence): void {
    sequence.open = false;
    this.#ends.cancelled++;
    if (sequence.steps.size > 0 || sequence.running) return;
    this.#remove(sequence);
    this.#runs.lookAtTurnEnd();
  }

  /** Somebody waits no longer for a call. */
  #leave(step: Step): void {
    if (step.gone) return;
    const { sequence, call } = step;
    const { model } = this.#options;
    const waited = sequence.running !== step;
    const isNext = sequence.steps.first === step && !sequence.running;
    const from = waited ? step : sequence.steps.first;
    const behind = from && (waited || !from.request.start) ? this.#cut(sequence, from) : [];
    if (!from) sequence.open = false;
    this.#ends.cancelled++;
    this.#reject(
      step,
      abortError(call, waited ? "while the call waited for the model" : "while the model ran"),
    );
    for (const other of behind) {
      if (other !== step) this.#reject(other, sequenceCancelled(model, sequence.id));
    }
    if (!waited) step.run?.left();
    else if (isNext) this.#nextCut(sequence);
    this.#runs.lookAtTurnEnd();
    this.#settled();
  }

  /** Takes calls out of a sequence; it ends with them if none that starts anew stands behind. */
  #cut(sequence: Sequence, from: Step): readonly Step[] {
    const { previous } = from;
    const cut = sequence.steps.cut(from);
    this.#waiting -= cut.length;
    const left = previous ? previous.next : sequence.steps.first;
    if (!left) sequence.open = false;
    if (this.#backlog.has(sequence)) this.#backlog.add(sequence);
    return cut;
  }

  /** The call that would have been the next of a sequence is no longer there. */
  #nextCut(sequence: Sequence): void {
    sequence.slot?.instance.ready.delete(sequence);
    this.#goOn(sequence);
  }

  /** Ends a sequence for a reason of the server's: the calls that wait, up to one that starts anew, are refused. */
  #abandon(sequence: Sequence, end: SequenceEnd, error: () => Error): void {
    const { first } = sequence.steps;
    if (!sequence.running && (first ? first.request.start : !sequence.open)) return;
    this.#ends[end]++;
    if (!first) sequence.open = false;
    else if (!first.request.start) {
      for (const step of this.#cut(sequence, first)) this.#reject(step, error());
    }
    if (!sequence.running) this.#nextCut(sequence);
  }

  #resolve(step: Step, result: ScheduledResult): void {
    step.gone = true;
    step.call.onAbort(undefined);
    this.#unanswered--;
    if (step.place) step.place.order.settle(step.place.at, () => step.resolve(result));
    else step.resolve(result);
  }

  #reject(step: Step, error: unknown): void {
    step.gone = true;
    step.call.onAbort(undefined);
    this.#unanswered--;
    step.reject(error);
    step.place?.order.settle(step.place.at, () => {});
  }

  #answered(step: Step, answer: StepAnswer, { startedMs, inferNs, steps }: EndedRun): void {
    if (step.request.end && answer.kind === "outputs") this.#ends.end++;
    if (answer.kind === "outputs") {
      const { outputs } = answer;
      if (!step.gone) this.#resolve(step, { outputs, inferNs, startedMs, runRows: steps });
      return;
    }
    const { sequence } = step;
    const { model, plan } = this.#options;
    if (!step.gone) this.#reject(step, answer.error);
    this.#abandon(sequence, "refused", () => sequenceNotStarted(model, sequence.id, plan.idleMs));
  }

  #failed(step: Step, error: unknown): void {
    const { sequence } = step;
    const { model } = this.#options;
    if (!step.gone) this.#reject(step, error);
    // The end of its instance is why it failed.
    const lost = sequence.slot?.instance.up === false;
    if (lost) this.#abandon(sequence, "lost", () => sequenceLost(model, sequence.id));
  }

  #settled(): void {
    if (this.#unanswered > 0 || this.#runs.running > 0) return;
    const listeners = this.#onIdle;
    this.#onIdle = [];
    for (const listener of listeners) listener();
  }
}
