import { create } from "@bufbuild/protobuf";
import {
  type ModelConfig,
  type ModelSequenceBatching,
  ModelSequenceBatching_StrategyDirectSchema,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid, modelUnsupported } from "../../errors/model-errors.ts";
import type { Datatype } from "../../tensor/datatype.ts";
import { shapeText } from "../../tensor/shape.ts";
import type { DeclaredPort } from "../engines/engine.ts";
import type { DeclaredModel } from "../model-config/complete-config.ts";
import type { BatchPolicy } from "../scheduling/batch-policy.ts";
import { type Controls, readControls } from "./read-controls.ts";
import { readStates, type StateSpec } from "./read-states.ts";

/** How the calls of different sequences are put into runs. */
export type SequenceStrategy =
  /** Each sequence has a row of an instance's batch for itself, until it ends. */
  | {
      readonly kind: "direct";
      /** Time for which a run waits for rows, in ms, while fewer than {@link minimumUtilization} hold a call. */
      readonly maxDelayMs: number;
      /** Share of the rows, 0 to 1; 0 waits for none. */
      readonly minimumUtilization: number;
    }
  /** The calls of an instance's sequences that wait longest are gathered. */
  | { readonly kind: "oldest"; readonly batch: BatchPolicy; readonly preserveOrder: boolean };

/** What `sequence_batching` of a configuration says. */
export interface SequencePlan {
  readonly strategy: SequenceStrategy;
  /** Sequences that an instance has under way at once. */
  readonly slotsPerInstance: number;
  /** Rows of a run at most. */
  readonly maxRows: number;
  /** Whether the model has a batch dimension. */
  readonly batched: boolean;
  /** Time without a call after which a sequence ends, in ms. */
  readonly idleMs: number;
  readonly controls: Controls;
  readonly states: readonly StateSpec[];
  /** Memory that the states of all sequences may take, in bytes. */
  readonly stateLimitBytes: number;
}

const defaultIdleUs = 1_000_000n;

/** Parameter of a configuration: memory for the states of all sequences, in MiB. */
const stateLimitParameter = "sequence_state_limit_mib";
const defaultStateLimitMib = 1024;

/** The `sequence_batching` of a configuration, `undefined` without. */
export function sequenceBatchingOf(
  config: ModelConfig | undefined,
): ModelSequenceBatching | undefined {
  const choice = config?.schedulingChoice;
  return choice?.case === "sequenceBatching" ? choice.value : undefined;
}

/**
 * Reads `sequence_batching` and holds it against what the model declares.
 *
 * @param folder - the model's folder, in which files of states lie
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`
 */
export async function readSequences(
  name: string,
  folder: string,
  config: ModelConfig,
  sequences: ModelSequenceBatching,
  declared: DeclaredModel,
): Promise<SequencePlan> {
  if (sequences.iterativeSequence) {
    throw modelUnsupported(name, "iterative_sequence of sequence_batching is not served");
  }
  const batched = config.maxBatchSize > 0;
  const rows = Math.max(config.maxBatchSize, 1);
  const controls = readControls(name, sequences);
  const states = await readStates(name, folder, sequences, batched);
  const plan = {
    ...readStrategy(name, sequences, rows),
    maxRows: rows,
    batched,
    idleMs: Number(sequences.maxSequenceIdleMicroseconds || defaultIdleUs) / 1000,
    controls,
    states,
    stateLimitBytes: readStateLimit(name, config),
  };
  checkPorts(name, config, plan, declared);
  return plan;
}

/** What callers see of a model: no controls and no states, save an output that the configuration names too. */
export function visiblePorts(
  { controls, states }: SequencePlan,
  config: ModelConfig,
  { inputs, outputs }: DeclaredModel,
): DeclaredModel {
  const own = new Set([
    ...controlsOf(controls).map(({ input }) => input),
    ...states.map(({ input }) => input),
  ]);
  const kept = new Set(states.map(({ output }) => output));
  for (const { name } of config.output) kept.delete(name);
  return {
    inputs: inputs.filter(({ name }) => !own.has(name)),
    outputs: outputs.filter(({ name }) => !kept.has(name)),
  };
}

/** Inputs that the server feeds, with the shapes that it gives them, for a model that declares none. */
export function fedPorts({ controls, states, batched }: SequencePlan): readonly DeclaredPort[] {
  const port = (name: string, datatype: Datatype, shape: readonly number[]): DeclaredPort => {
    return { name, datatype, shape, optional: false, labels: [] };
  };
  const shape = batched ? [-1, 1] : [1];
  return [
    ...controlsOf(controls).map(({ input, datatype }) => port(input, datatype, shape)),
    ...states.map(({ input, datatype, shape: [first, ...rest] }) =>
      port(input, datatype, batched ? [-1, ...rest] : first === undefined ? [] : [first, ...rest]),
    ),
  ];
}

/** Writes into a configuration what holds where it says nothing. */
export function showSequences(config: ModelConfig, plan: SequencePlan): void {
  const sequences = sequenceBatchingOf(config);
  if (!sequences) return;
  sequences.maxSequenceIdleMicroseconds ||= defaultIdleUs;
  const { strategyChoice: choice } = sequences;
  if (choice.case === undefined) {
    const value = create(ModelSequenceBatching_StrategyDirectSchema);
    sequences.strategyChoice = { case: "direct", value };
  } else if (choice.case === "oldest") {
    choice.value.maxCandidateSequences ||= plan.slotsPerInstance;
    if (plan.batched && choice.value.preferredBatchSize.length === 0) {
      choice.value.preferredBatchSize = [plan.maxRows];
    }
  }
}

function readStrategy(
  name: string,
  { strategyChoice: choice }: ModelSequenceBatching,
  rows: number,
): Pick<SequencePlan, "strategy" | "slotsPerInstance"> {
  if (choice.case !== "oldest") {
    const maxDelayMs = Number(choice.value?.maxQueueDelayMicroseconds ?? 0n) / 1000;
    const minimumUtilization = choice.value?.minimumSlotUtilization ?? 0;
    if (!(minimumUtilization >= 0 && minimumUtilization <= 1)) {
      throw modelConfigInvalid(
        name,
        `has minimum_slot_utilization ${minimumUtilization}, expected 0 to 1`,
      );
    }
    return {
      strategy: { kind: "direct", maxDelayMs, minimumUtilization },
      slotsPerInstance: rows,
    };
  }
  const { maxCandidateSequences, preferredBatchSize, maxQueueDelayMicroseconds, preserveOrdering } =
    choice.value;
  if (maxCandidateSequences < 0) {
    throw modelConfigInvalid(
      name,
      `has max_candidate_sequences ${maxCandidateSequences}, expected 0 for max_batch_size, or more`,
    );
  }
  for (const size of preferredBatchSize) {
    if (size < 1 || size > rows) {
      throw modelConfigInvalid(
        name,
        `has preferred_batch_size ${size}, expected 1 to max_batch_size, which is ${rows}`,
      );
    }
  }
  return {
    strategy: {
      kind: "oldest",
      batch: {
        maxRows: rows,
        preferredRows: [...preferredBatchSize].sort((a, b) => a - b),
        maxDelayMs: Number(maxQueueDelayMicroseconds) / 1000,
      },
      preserveOrder: preserveOrdering,
    },
    slotsPerInstance: maxCandidateSequences || rows,
  };
}

function readStateLimit(name: string, { parameters }: ModelConfig): number {
  const text = parameters[stateLimitParameter]?.stringValue;
  const mib = text === undefined ? defaultStateLimitMib : Number(text);
  if (!Number.isInteger(mib) || mib < 1 || text?.trim() === "") {
    throw modelConfigInvalid(
      name,
      `has parameter ${stateLimitParameter} ${JSON.stringify(text)}, expected MiB from 1 on`,
    );
  }
  return mib * 1024 * 1024;
}

function controlsOf({
  start,
  ready,
  end,
  id,
}: Controls): { readonly input: string; readonly datatype: Datatype }[] {
  return [start, ready, end, id].filter((control) => control !== undefined);
}

function checkPorts(
  name: string,
  config: ModelConfig,
  plan: SequencePlan,
  declared: DeclaredModel,
): void {
  const { controls, states, batched } = plan;
  const seen = new Set<string>();
  for (const port of fedPorts(plan)) {
    const control = controlsOf(controls).some(({ input }) => input === port.name);
    const what = control ? `control_input "${port.name}"` : `state input "${port.name}"`;
    if (seen.has(port.name)) {
      throw modelConfigInvalid(name, `names "${port.name}" both as a control_input and as a state`);
    }
    seen.add(port.name);
    if (config.input.some((input) => input.name === port.name)) {
      throw modelConfigInvalid(
        name,
        `names ${what} among its inputs too; the server feeds it, callers do not`,
      );
    }
    checkPort(name, what, port, declared.inputs, batched);
  }
  for (const { output, datatype, shape } of states) {
    const port = { name: output, datatype, shape: batched ? [-1, ...shape.slice(1)] : shape };
    checkPort(name, `state output "${output}"`, port, declared.outputs, batched);
  }
}

function checkPort(
  model: string,
  what: string,
  port: Pick<DeclaredPort, "name" | "datatype" | "shape">,
  declared: readonly DeclaredPort[],
  batched: boolean,
): void {
  const found = declared.find(({ name }) => name === port.name);
  if (!found) {
    throw modelConfigInvalid(
      model,
      `names ${what}, the model has ${declared.map(({ name }) => `"${name}"`).join(", ")}`,
    );
  }
  if (found.datatype !== port.datatype) {
    throw modelConfigInvalid(
      model,
      `makes ${what} ${port.datatype}, the model declares ${found.datatype}`,
    );
  }
  const { shape } = found;
  if (!shape || !port.shape) return;
  const fits =
    shape.length === port.shape.length &&
    port.shape.every((size, axis) => size === -1 || [-1, size].includes(shape[axis]!));
  if (batched && shape[0] !== -1) {
    throw modelConfigInvalid(
      model,
      `has max_batch_size, and ${what} is ${shapeText(shape)} in the model, without a free first dimension`,
    );
  }
  if (!fits) {
    throw modelConfigInvalid(
      model,
      `makes ${what} ${shapeText(port.shape)}, the model declares ${shapeText(shape)}`,
    );
  }
}
