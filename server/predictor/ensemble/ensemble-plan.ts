import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import { shapeText } from "../../tensor/shape.ts";
import type { ModelSignature, TensorSpec } from "../signature.ts";

/** A step of an ensemble: one model, and how its tensors are called in the ensemble. */
export interface EnsembleStep {
  readonly model: string;
  /** Empty for the newest. */
  readonly version: string;
  /** Tensor of the ensemble by input of the model. */
  readonly inputs: ReadonlyMap<string, string>;
  /** Tensor of the ensemble by output of the model. */
  readonly outputs: ReadonlyMap<string, string>;
}

/** A graph of models without gaps and without cycles; each step comes after those that it takes from. */
export interface EnsemblePlan {
  readonly steps: readonly EnsembleStep[];
  /** Index of the step that makes a tensor; the ensemble's inputs are made by none. */
  readonly producers: ReadonlyMap<string, number>;
}

/**
 * Reads ensemble_scheduling, and holds it against what the models take and give.
 *
 * @param config - with inputs and outputs that name datatype and dims
 * @param signature - of the ensemble
 * @param signatureOf - of a step's model
 * @throws TensorwireError `MODEL_CONFIG_INVALID` that names the step and the tensor
 */
export function planEnsemble(
  config: ModelConfig,
  signature: ModelSignature,
  signatureOf: (step: EnsembleStep) => ModelSignature,
): EnsemblePlan {
  const steps = readSteps(config);
  const fail = (why: string): never => {
    throw modelConfigInvalid(config.name, why);
  };
  const makers = new Map<string, string>();
  const made = (tensor: string, by: string): void => {
    const other = makers.get(tensor);
    if (other) fail(`has tensor "${tensor}" made by ${other} and by ${by}`);
    makers.set(tensor, by);
  };
  for (const { name } of signature.inputs) made(name, `the ensemble's input "${name}"`);
  for (const [index, step] of steps.entries()) {
    for (const tensor of step.outputs.values()) made(tensor, stepText(step, index));
  }
  for (const { name } of signature.outputs) {
    if (!makers.has(name)) fail(`has output "${name}", which no step makes`);
  }

  const specs = new Map<string, TensorSpec>(signature.inputs.map((spec) => [spec.name, spec]));
  const ordered: EnsembleStep[] = [];
  let left = [...steps.entries()];
  while (left.length > 0) {
    const ready = left.filter(([, step]) =>
      [...step.inputs.values()].every((tensor) => specs.has(tensor)),
    );
    if (ready.length === 0) {
      const [index, step] = left[0]!;
      const missing = [...step.inputs.values()].filter((tensor) => !specs.has(tensor));
      const unmade = missing.find((tensor) => !makers.has(tensor));
      fail(
        unmade === undefined
          ? `has steps that wait for each other: ${left.map(([at, each]) => stepText(each, at)).join(", ")}`
          : `has ${stepText(step, index)} take tensor "${unmade}", which nothing makes`,
      );
    }
    for (const [index, step] of ready) {
      checkStep(stepText(step, index), step, signatureOf(step), specs, fail);
      ordered.push(step);
    }
    left = left.filter((each) => !ready.includes(each));
  }
  for (const spec of signature.outputs) {
    const given = specs.get(spec.name)!;
    if (!agrees(given, spec))
      fail(`gives output ${specText(spec)}, its step makes ${specText(given)}`);
  }
  const producers = new Map<string, number>();
  for (const [index, { outputs }] of ordered.entries()) {
    for (const tensor of outputs.values()) producers.set(tensor, index);
  }
  return { steps: ordered, producers };
}

/** Steps that the given outputs need, in order. */
export function neededSteps(plan: EnsemblePlan, outputs: readonly string[]): readonly number[] {
  const needed = new Set<number>();
  const visit = (tensor: string): void => {
    const producer = plan.producers.get(tensor);
    if (producer === undefined || needed.has(producer)) return;
    needed.add(producer);
    for (const input of plan.steps[producer]!.inputs.values()) visit(input);
  };
  for (const output of outputs) visit(output);
  return [...needed].sort((a, b) => a - b);
}

function readSteps({ name, schedulingChoice }: ModelConfig): EnsembleStep[] {
  const steps = schedulingChoice.case === "ensembleScheduling" ? schedulingChoice.value.step : [];
  if (steps.length === 0) throw modelConfigInvalid(name, "is an ensemble without a step");
  return steps.map(({ modelName, modelVersion, inputMap, outputMap }) => ({
    model: modelName,
    version: modelVersion > 0n ? String(modelVersion) : "",
    inputs: new Map(Object.entries(inputMap)),
    outputs: new Map(Object.entries(outputMap)),
  }));
}

/** Checks that a step feeds its model as that asks, and adds what it makes to the tensors. */
function checkStep(
  where: string,
  step: EnsembleStep,
  model: ModelSignature,
  specs: Map<string, TensorSpec>,
  fail: (why: string) => never,
): void {
  for (const spec of model.inputs) {
    const tensor = step.inputs.get(spec.name);
    if (tensor === undefined) {
      if (!spec.optional) fail(`has ${where} leave out input "${spec.name}" of its model`);
      continue;
    }
    const given = specs.get(tensor)!;
    if (!agrees(given, spec)) {
      fail(`has ${where} take ${specText(given)} as its model's input ${specText(spec)}`);
    }
  }
  for (const name of step.inputs.keys()) {
    if (!model.inputs.some((spec) => spec.name === name)) {
      fail(`has ${where} feed input "${name}", which its model does not have`);
    }
  }
  for (const [name, tensor] of step.outputs) {
    const spec = model.outputs.find((output) => output.name === name);
    if (!spec) fail(`has ${where} take output "${name}", which its model does not have`);
    else specs.set(tensor, { ...spec, name: tensor });
  }
}

/** Whether every tensor that one describes could be one that the other does. */
function agrees(given: TensorSpec, wanted: TensorSpec): boolean {
  return (
    given.datatype === wanted.datatype &&
    given.shape.length === wanted.shape.length &&
    given.shape.every((size, axis) => size === -1 || [-1, size].includes(wanted.shape[axis]!))
  );
}

function specText({ name, datatype, shape }: TensorSpec): string {
  return `"${name}" (${datatype} ${shapeText(shape)})`;
}

function stepText({ model }: EnsembleStep, index: number): string {
  return `step ${index + 1} (${model})`;
}
