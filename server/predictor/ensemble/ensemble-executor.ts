import { ensembleStepFailed } from "../../errors/model-errors.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { CallTrace } from "../../observability/call-trace.ts";
import { AbortGroup } from "../../rpc/abort-group.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { abortError } from "../abort-error.ts";
import type { CallOptions } from "../call-options.ts";
import type { Execution, Executor, TensorCall } from "../executor.ts";
import { type EnsemblePlan, type EnsembleStep, neededSteps } from "./ensemble-plan.ts";

/** Computes one step: inputs and outputs under the names that the step's model has for them. */
export type RunStep = (
  step: EnsembleStep,
  inputs: readonly Tensor[],
  outputNames: readonly string[],
  call: CallAbort,
  options: CallOptions,
  trace: CallTrace | undefined,
) => Promise<readonly Tensor[]>;

/** A call under way. */
interface Work {
  readonly group: AbortGroup;
  readonly options: CallOptions;
  readonly trace: CallTrace | undefined;
  /** Of the step that failed first; those that it cancelled say the same. */
  failure: TensorwireError | undefined;
}

/**
 * A graph of models as one model (Triton's ensemble_scheduling). A step begins when the tensors that it
 * takes are there; steps that do not need each other run at once, and those that no requested output needs
 * do not run. Tensors go from step to step by reference. When a step fails, the others of the call are
 * cancelled.
 */
export class EnsembleExecutor implements Executor {
  readonly placement: string;
  /** What the models of its steps take is theirs. */
  readonly memoryBytes = 0;
  readonly waiting = 0;
  readonly identity: () => string;
  readonly #model: string;
  readonly #plan: EnsemblePlan;
  readonly #run: RunStep;
  #running = 0;
  #onIdle: (() => void)[] = [];

  /** @param identity - a text that changes whenever a model of the plan is loaded again */
  constructor(model: string, plan: EnsemblePlan, run: RunStep, identity: () => string) {
    this.#model = model;
    this.#plan = plan;
    this.#run = run;
    this.identity = identity;
    this.placement = `ensemble of ${plan.steps.map((step) => step.model).join(", ")}`;
  }

  get running(): number {
    return this.#running;
  }

  async execute(
    call: CallAbort,
    { inputs, outputNames, rows, options, trace }: TensorCall,
  ): Promise<Execution> {
    if (call.aborted) throw abortError(call, "before the call reached the ensemble");
    const startedMs = performance.now();
    const group = new AbortGroup(call);
    const work: Work = { group, options, trace, failure: undefined };
    this.#running++;
    try {
      const tensors = new Map(inputs.map((tensor) => [tensor.name, Promise.resolve(tensor)]));
      for (const index of neededSteps(this.#plan, outputNames)) {
        this.#begin(this.#plan.steps[index]!, tensors, work);
      }
      const outputs = await Promise.all(outputNames.map((name) => tensors.get(name)!));
      const inferNs = Math.round((performance.now() - startedMs) * 1e6);
      return { outputs, inferNs, startedMs, runRows: rows };
    } finally {
      group.close();
      this.#running--;
      this.#settled();
    }
  }

  idle(): Promise<void> {
    if (this.#running === 0) return Promise.resolve();
    return new Promise((resolve) => this.#onIdle.push(resolve));
  }

  async release(): Promise<void> {}

  /** Begins a step when its inputs are there, and promises its outputs. */
  #begin(step: EnsembleStep, tensors: Map<string, Promise<Tensor>>, work: Work): void {
    // An optional input of the ensemble that the call leaves out is left out of the step too.
    const wanted = [...step.inputs].filter(([, tensor]) => tensors.has(tensor));
    const outputNames = [...step.outputs.keys()];
    const done = Promise.all(
      wanted.map(async ([name, tensor]) => ({ ...(await tensors.get(tensor)!), name })),
    ).then((inputs) => this.#step(step, inputs, outputNames, work));
    // Whoever waits for an output hears of the failure; an output that nobody waits for is no matter.
    done.catch(() => {});
    for (const [index, name] of outputNames.entries()) {
      const tensor = step.outputs.get(name)!;
      const made = done.then((outputs) => ({ ...outputs[index]!, name: tensor }));
      made.catch(() => {});
      tensors.set(tensor, made);
    }
  }

  async #step(
    step: EnsembleStep,
    inputs: readonly Tensor[],
    outputNames: readonly string[],
    work: Work,
  ): Promise<readonly Tensor[]> {
    const { group, options, trace } = work;
    try {
      return await this.#run(step, inputs, outputNames, group.child(), options, trace);
    } catch (error) {
      if (group.aborted) throw error;
      if (work.failure === undefined) {
        work.failure = ensembleStepFailed(this.#model, step.model, error);
        group.close();
      }
      throw work.failure;
    }
  }

  #settled(): void {
    if (this.#running > 0) return;
    const listeners = this.#onIdle;
    this.#onIdle = [];
    for (const listener of listeners) listener();
  }
}
