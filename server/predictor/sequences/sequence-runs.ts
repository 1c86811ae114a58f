import type { Tensor } from "../../tensor/tensor.ts";
import { type NextRun, nextRun } from "./next-run.ts";
import type { Instance, Sequence } from "./sequence.ts";
import type { SequencePlan } from "./sequence-plan.ts";
import { type Step, StepsUnderWay } from "./step.ts";

/** What a run gave. */
export interface RunOutcome {
  /** By row; of a row without a call undefined. */
  readonly answers: readonly (StepAnswer | undefined)[];
  /** Time in the model, in ns. */
  readonly inferNs: number;
}

/** What a run gave one call; a call that is refused ends its sequence. */
export type StepAnswer =
  | { readonly kind: "outputs"; readonly outputs: readonly Tensor[] }
  | { readonly kind: "refused"; readonly error: Error };

/** Runs calls of different sequences, and keeps their states. */
export interface StepRunner {
  /** Whether two calls, each the next of its sequence, can share a run. */
  readonly canJoin: (one: Step, other: Step) => boolean;
  run(
    instance: number,
    rows: readonly (Step | undefined)[],
    run: StepsUnderWay,
  ): RunOutcome | Promise<RunOutcome>;
  /** A sequence is over: nothing of it is kept. */
  forget(sequence: Sequence): void;
}

/** A run that has ended. */
export interface EndedRun {
  readonly startedMs: number;
  readonly inferNs: number;
  /** Its calls, on the first of them that somebody waits for; 0 on the others, so that each run counts once. */
  readonly steps: number;
}

/** Told of what becomes of calls. */
export interface RunListener {
  /** The model gets a call. */
  begun(step: Step): void;
  /** The model has answered a call. */
  answered(step: Step, answer: StepAnswer, run: EndedRun): void;
  failed(step: Step, error: unknown): void;
  /** The model has a call no more. */
  ended(step: Step): void;
  /** A run has ended, with all of its calls. */
  runEnded(): void;
}

/** What {@link SequenceRuns} act on; tests give their own clock. */
export interface SequenceRunsOptions {
  readonly plan: SequencePlan;
  /** Runs that an instance is given at once; more than one with strategy oldest only. */
  readonly runsPerInstance: number;
  readonly runner: StepRunner;
  /** What becomes of the calls of a run that failed. */
  readonly afterFailure: "run one by one" | "fail";
  /** Monotonic clock in ms. */
  readonly now: () => number;
  /** Calls `action` at the end of the turn of the event loop. */
  readonly atTurnEnd: (action: () => void) => void;
  /** Calls `action` after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
}

/**
 * Gives the instances of a model their runs. What comes in one turn of the event loop is looked at together. The
 * calls of a run that fails are run once more, each by itself, if the model takes that.
 */
export class SequenceRuns {
  readonly #options: SequenceRunsOptions;
  readonly #instances: readonly Instance[];
  readonly #listener: RunListener;
  #running = 0;
  #turnPending = false;
  #sending = false;

  constructor(options: SequenceRunsOptions, instances: readonly Instance[], listener: RunListener) {
    this.#options = options;
    this.#instances = instances;
    this.#listener = listener;
  }

  /** Runs under way. */
  get running(): number {
    return this.#running;
  }

  /** Looks at the end of the turn what can be run. */
  lookAtTurnEnd(): void {
    if (this.#turnPending) return;
    this.#turnPending = true;
    this.#options.atTurnEnd(this.#onTurnEnd);
  }

  /** Ends the timers. */
  close(): void {
    for (const instance of this.#instances) instance.cancelDelay?.();
  }

  readonly #onTurnEnd = (): void => {
    this.#turnPending = false;
    this.#send();
  };

  readonly #send = (): void => {
    if (this.#sending) return;
    this.#sending = true;
    try {
      for (const instance of this.#instances) this.#sendTo(instance);
    } finally {
      this.#sending = false;
    }
  };

  #sendTo(instance: Instance): void {
    const { runsPerInstance, after } = this.#options;
    instance.cancelDelay?.();
    instance.cancelDelay = undefined;
    while (instance.up && instance.runs < runsPerInstance) {
      const next = this.#nextFor(instance);
      if (!next) return;
      if (next.kind === "wait") {
        instance.cancelDelay = after(next.ms, this.#send);
        return;
      }
      // What computes at once leaves the thread between two runs.
      if (this.#start(instance, next.rows) === "ended") return;
    }
  }

  #nextFor(instance: Instance): NextRun | undefined {
    const { plan, runner, now } = this.#options;
    for (;;) {
      const retry = instance.retries.pop();
      if (!retry) return nextRun(instance, plan, runner.canJoin, now());
      if (!retry.gone) return { kind: "run", rows: [retry] };
      this.#listener.ended(retry);
    }
  }

  #start(instance: Instance, rows: readonly (Step | undefined)[]): "ended" | "under way" {
    const { runner, now } = this.#options;
    const steps = rows.filter((step) => step !== undefined);
    const startedMs = now();
    const run = new StepsUnderWay(steps);
    for (const step of steps) {
      if (!step.run) {
        instance.ready.delete(step.sequence);
        const { order } = instance;
        if (order) step.place = { order, at: order.take() };
        this.#listener.begun(step);
      }
      step.run = run;
    }
    instance.runs++;
    this.#running++;
    let outcome: RunOutcome | Promise<RunOutcome>;
    try {
      outcome = runner.run(instance.index, rows, run);
    } catch (error) {
      this.#fail(instance, steps, error);
      return "ended";
    }
    if (!(outcome instanceof Promise)) {
      this.#answer(instance, rows, outcome, startedMs);
      return "ended";
    }
    outcome.then(
      (value) => this.#answer(instance, rows, value, startedMs),
      (error: unknown) => this.#fail(instance, steps, error),
    );
    return "under way";
  }

  #answer(
    instance: Instance,
    rows: readonly (Step | undefined)[],
    { answers, inferNs }: RunOutcome,
    startedMs: number,
  ): void {
    const steps = rows.reduce((count, step) => count + (step ? 1 : 0), 0);
    let run: EndedRun = { startedMs, inferNs, steps };
    for (const [row, step] of rows.entries()) {
      if (!step) continue;
      const { gone } = step;
      this.#listener.answered(step, answers[row]!, run);
      if (!gone) run = { startedMs, inferNs, steps: 0 };
      this.#listener.ended(step);
    }
    this.#runEnded(instance);
  }

  #fail(instance: Instance, steps: readonly Step[], error: unknown): void {
    if (this.#options.afterFailure === "run one by one" && steps.length > 1) {
      instance.retries.push(...steps.toReversed());
    } else {
      for (const step of steps) {
        this.#listener.failed(step, error);
        this.#listener.ended(step);
      }
    }
    this.#runEnded(instance);
  }

  #runEnded(instance: Instance): void {
    instance.runs--;
    this.#running--;
    this.lookAtTurnEnd();
    this.#listener.runEnded();
  }
}
