import { modelExecutionFailed } from "../../errors/model-errors.ts";
import { sequenceStatesFull } from "../../errors/sequence-errors.ts";
import { shapeMatches, shapeText } from "../../tensor/shape.ts";
import { type Tensor, tensorByteLength } from "../../tensor/tensor.ts";
import type { EngineResult } from "../engines/engine.ts";
import { canJoin, haveRows, joinRows, takeRows } from "../scheduling/batch-tensors.ts";
import type { ControlTensors } from "./control-tensors.ts";
import type { StateSpec } from "./read-states.ts";
import type { Sequence } from "./sequence.ts";
import type { SequenceEngine } from "./sequence-engine.ts";
import type { SequencePlan } from "./sequence-plan.ts";
import type { RunOutcome, StepAnswer, StepRunner } from "./sequence-runs.ts";
import type { Step, StepsUnderWay } from "./step.ts";

/**
 * Makes the tensors of a run from the calls of sequences, their controls and their states, and keeps the
 * states that the model gives. A run that fails changes no state.
 */
export class StepTensors implements StepRunner {
  readonly #model: string;
  readonly #engine: SequenceEngine;
  readonly #plan: SequencePlan;
  readonly #controls: ControlTensors;
  #stateBytes = 0;

  constructor(model: string, engine: SequenceEngine, plan: SequencePlan, controls: ControlTensors) {
    this.#model = model;
    this.#engine = engine;
    this.#plan = plan;
    this.#controls = controls;
  }

  /** Memory that the states of all sequences take. */
  get stateBytes(): number {
    return this.#stateBytes;
  }

  readonly canJoin = (one: Step, other: Step): boolean =>
    this.#plan.batched &&
    !one.request.solo &&
    !other.request.solo &&
    canJoin(this.#tensorsOf(one), this.#tensorsOf(other));

  run(
    instance: number,
    rows: readonly (Step | undefined)[],
    run: StepsUnderWay,
  ): RunOutcome | Promise<RunOutcome> {
    const names = this.#outputNames(rows);
    const result = this.#engine.run(instance, this.#inputsOf(rows), names, run);
    return result instanceof Promise
      ? result.then((given) => this.#outcome(rows, names, given))
      : this.#outcome(rows, names, result);
  }

  forget(sequence: Sequence): void {
    this.#stateBytes -= sequence.stateBytes;
    sequence.stateBytes = 0;
    sequence.states = undefined;
  }

  #tensorsOf(step: Step): readonly Tensor[] {
    step.tensors ??= this.#feed(step);
    return step.tensors;
  }

  #feed({ request, sequence }: Step): readonly Tensor[] {
    const { inputs, controls, start } = request;
    const { states } = this.#plan;
    // Of what was before nothing is left, also if this call fails.
    if (start) this.forget(sequence);
    const last = sequence.states ?? states.map(({ initial }) => initial);
    return [...inputs, ...controls, ...last];
  }

  #inputsOf(rows: readonly (Step | undefined)[]): readonly Tensor[] {
    const first = rows.find((step) => step !== undefined)!;
    if (rows.length === 1) return this.#tensorsOf(first);
    const blank = rows.includes(undefined) ? this.#blankRow(first) : [];
    return joinRows(rows.map((step) => (step ? this.#tensorsOf(step) : blank)));
  }

  /** A row without a call: not ready, everything else zero, in the shapes of one that has a call. */
  #blankRow(like: Step): readonly Tensor[] {
    const { inputs, controls } = like.request;
    const states = this.#tensorsOf(like).slice(inputs.length + controls.length);
    return [...inputs.map(blank), ...this.#controls.notReady, ...states.map(blank)];
  }

  /** Outputs that any of the calls asks for, and the states. */
  #outputNames(rows: readonly (Step | undefined)[]): readonly string[] {
    const names = new Set<string>();
    for (const step of rows) {
      for (const name of step?.request.outputNames ?? []) names.add(name);
    }
    for (const { output } of this.#plan.states) names.add(output);
    return [...names];
  }

  #outcome(
    rows: readonly (Step | undefined)[],
    names: readonly string[],
    { outputs, inferNs }: EngineResult,
  ): RunOutcome {
    if (rows.length > 1 && !haveRows(outputs, rows.length)) {
      const shapes = outputs.map(({ name, shape }) => `${name} ${shapeText(shape)}`).join(", ");
      throw modelExecutionFailed(this.#model, `a batch of ${rows.length} rows gave ${shapes}`);
    }
    const parts = rows.map((step, row) => {
      if (!step) return undefined;
      const own = rows.length === 1 ? outputs : takeRows(outputs, row, 1, rows.length);
      const named = new Map(own.map((tensor, index) => [names[index]!, tensor]));
      return { step, named, states: this.#statesOf(named, rows.length) };
    });
    // All states of a run are looked at before one is kept: a run that fails changes none.
    return {
      inferNs,
      answers: parts.map((part) => part && this.#answer(part.step, part.named, part.states)),
    };
  }

  #statesOf(outputs: ReadonlyMap<string, Tensor>, rows: number): readonly Tensor[] {
    return this.#plan.states.map((spec) => {
      const given = outputs.get(spec.output)!;
      if (given.datatype !== spec.datatype || !shapeMatches(given.shape, spec.shape)) {
        throw modelExecutionFailed(
          this.#model,
          `state output "${spec.output}" is ${given.datatype} ${shapeText(given.shape)}, expected ${spec.datatype} ${shapeText(spec.shape)}`,
        );
      }
      return kept(given, spec, rows);
    });
  }

  #answer(step: Step, outputs: ReadonlyMap<string, Tensor>, states: readonly Tensor[]): StepAnswer {
    const { sequence, request } = step;
    // Those of a decoupled call have gone their way.
    if (request.take) return { kind: "outputs", outputs: [] };
    const answer: StepAnswer = {
      kind: "outputs",
      outputs: request.outputNames.map((name) => outputs.get(name)!),
    };
    if (states.length === 0 || request.end) return answer;
    let bytes = 0;
    for (const state of states) bytes += tensorByteLength(state);
    const total = this.#stateBytes - sequence.stateBytes + bytes;
    const { stateLimitBytes } = this.#plan;
    if (total > stateLimitBytes) {
      const error = sequenceStatesFull(this.#model, sequence.id, total, stateLimitBytes);
      return { kind: "refused", error };
    }
    this.#stateBytes = total;
    sequence.stateBytes = bytes;
    sequence.states = states;
    return answer;
  }
}

/** A state under the name of its input; of a batch a copy, so that it does not keep the others' memory. */
function kept(tensor: Tensor, { input: name }: StateSpec, rows: number): Tensor {
  if (rows === 1) return { ...tensor, name };
  if (tensor.datatype === "BYTES") {
    return { ...tensor, name, elements: tensor.elements.map((element) => element.slice()) };
  }
  return { ...tensor, name, bytes: tensor.bytes.slice() };
}

function blank(tensor: Tensor): Tensor {
  if (tensor.datatype === "BYTES") {
    return { ...tensor, elements: tensor.elements.map(() => new Uint8Array()) };
  }
  return { ...tensor, bytes: new Uint8Array(tensor.bytes.byteLength) };
}
