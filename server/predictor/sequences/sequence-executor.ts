import { sequenceBatchRefused, sequenceIdMissing } from "../../errors/sequence-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import { answerStream } from "../answer-stream.ts";
import type { Execution, Executor, SequenceCounts, TensorCall } from "../executor.ts";
import { afterMs, atTurnEnd } from "../turn-end.ts";
import { ControlTensors } from "./control-tensors.ts";
import type { SequenceEngine } from "./sequence-engine.ts";
import type { SequencePlan } from "./sequence-plan.ts";
import { SequenceScheduler } from "./sequence-scheduler.ts";
import type { StepDetail } from "./step.ts";
import { StepTensors } from "./step-tensors.ts";

/** A model with sequences (Triton's sequence_batching) behind its scheduler. */
export class SequenceExecutor implements Executor {
  readonly stream: Executor["stream"];
  readonly generations: Executor["generations"];
  readonly #model: string;
  readonly #engine: SequenceEngine;
  readonly #plan: SequencePlan;
  readonly #controls: ControlTensors;
  readonly #tensors: StepTensors;
  readonly #scheduler: SequenceScheduler;

  /** @param limit - calls that may wait */
  constructor(model: string, engine: SequenceEngine, plan: SequencePlan, limit: number) {
    this.#model = model;
    this.#engine = engine;
    this.#plan = plan;
    this.#controls = new ControlTensors(plan);
    this.#tensors = new StepTensors(model, engine, plan, this.#controls);
    this.#scheduler = new SequenceScheduler({
      model,
      plan,
      instances: engine.instances,
      // A row of a direct batch is in one run at a time.
      runsPerInstance: plan.strategy.kind === "direct" ? 1 : engine.runsPerInstance,
      limit,
      runner: this.#tensors,
      afterFailure: engine.afterFailure,
      now: () => performance.now(),
      atTurnEnd,
      after: afterMs,
    });
    this.generations = engine.generations;
    if (engine.decoupled) {
      this.stream = (call, tensors) =>
        // What is refused before the call begins fails the stream as the call itself does.
        answerStream(call, async (child, take) => this.#schedule(child, tensors, take));
    }
    engine.onChange((instance, state) => {
      if (state === "lost") this.#scheduler.lose(instance);
      else this.#scheduler.restore(instance);
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

  get sequences(): SequenceCounts {
    const { stateLimitBytes, slotsPerInstance } = this.#plan;
    const { active, backlog, ends } = this.#scheduler;
    const slots = slotsPerInstance * this.#engine.instances;
    const { stateBytes } = this.#tensors;
    return { active, waiting: backlog, slots, ends, stateBytes, stateLimitBytes };
  }

  execute(call: CallAbort, tensors: TensorCall): Promise<Execution> {
    return this.#schedule(call, tensors, undefined);
  }

  idle(): Promise<void> {
    return this.#scheduler.idle();
  }

  release(): Promise<void> {
    this.#scheduler.close();
    return this.#engine.release();
  }

  #schedule(call: CallAbort, tensors: TensorCall, take: StepDetail["take"]): Promise<Execution> {
    const { inputs, outputNames, rows, options } = tensors;
    const { sequence, timeoutMs, parameters } = options;
    if (rows !== 1) throw sequenceBatchRefused(this.#model, rows);
    if (!sequence) throw sequenceIdMissing(this.#model);
    const { id, start, end } = sequence;
    const controls = [...this.#controls.ofStep(sequence), ...this.#controls.ofId(id)];
    const solo = this.#engine.isSolo(parameters);
    return this.#scheduler.run(call, {
      id,
      start,
      end,
      inputs,
      controls,
      outputNames,
      timeoutMs,
      parameters,
      take,
      solo,
    });
  }
}
