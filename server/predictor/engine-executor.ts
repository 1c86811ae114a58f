import type { CallAbort } from "../rpc/call-context.ts";
import type { EngineModel, EngineResult } from "./engines/engine.ts";
import type { Execution, Executor, TensorCall } from "./executor.ts";
import { type Schedule, Scheduler } from "./scheduling/scheduler.ts";
import { TurnGauge } from "./scheduling/turn-gauge.ts";
import { afterMs, atTurnEnd } from "./turn-end.ts";

/**
 * Calls that an instance of an engine is given at once: one that runs, and one that is already on its
 * way there when it ends. More would take them out of reach of a cancel.
 */
const slotsPerInstance = 2;

/** A model of an engine behind its queue. */
export class EngineExecutor implements Executor {
  readonly #engine: EngineModel;
  readonly #scheduler: Scheduler;
  readonly #batches: boolean;
  /** Set if calls are gathered. */
  readonly #gauge: TurnGauge | undefined;

  /** @param limit - calls that may wait */
  constructor(model: string, engine: EngineModel, schedule: Schedule, limit: number) {
    this.#engine = engine;
    this.#batches = schedule.batch !== undefined;
    this.#gauge = this.#batches ? new TurnGauge(atTurnEnd) : undefined;
    this.#scheduler = new Scheduler({
      ...schedule,
      model,
      slots: slotsPerInstance * engine.instances,
      limit,
      run: (inputs, outputNames) =>
        this.#now(inputs, outputNames) ?? engine.run(inputs, outputNames),
      now: () => performance.now(),
      atTurnEnd,
      after: afterMs,
    });
  }

  get waiting(): number {
    return this.#scheduler.waiting;
  }

  get running(): number {
    return this.#scheduler.running;
  }

  get placement(): string {
    return this.#engine.placement;
  }

  get memoryBytes(): number {
    return this.#engine.memoryBytes;
  }

  execute(call: CallAbort, tensors: TensorCall): Execution | Promise<Execution> {
    const scheduler = this.#scheduler;
    const { inputs, outputNames, rows, options } = tensors;
    const gathers = this.#gauge?.called() ?? false;
    if (!gathers && scheduler.isIdle && !call.aborted) {
      const startedMs = performance.now();
      const result = this.#engine.runNow(inputs, outputNames);
      if (result) {
        const { outputs, inferNs } = result;
        return { outputs, inferNs, startedMs, runRows: this.#batches ? rowsOf(tensors) : rows };
      }
    }
    const { priority, timeoutMs } = options;
    const answered = scheduler.run(call, {
      inputs,
      outputNames,
      priority,
      timeoutMs,
      detail: undefined,
      alone: false,
    });
    // Of a model without batches the first dimension counts no rows.
    return this.#batches ? answered : answered.then((result) => ({ ...result, runRows: rows }));
  }

  idle(): Promise<void> {
    return this.#scheduler.idle();
  }

  release(): Promise<void> {
    return this.#engine.release();
  }

  /** A model that runs each call on its own leaves the thread between them. */
  #now(inputs: TensorCall["inputs"], outputNames: readonly string[]): EngineResult | undefined {
    return this.#batches ? this.#engine.runNow(inputs, outputNames) : undefined;
  }
}

/** Rows as they are counted for a model that has batches without saying so too. */
function rowsOf({ inputs }: TensorCall): number {
  return inputs[0]?.shape[0] ?? 0;
}
