import { clone } from "@bufbuild/protobuf";
import { type ModelConfig, ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { modelUnsupported } from "../../errors/model-errors.ts";
import type { Repeats } from "../cache/repeats.ts";
import { EnsembleExecutor } from "../ensemble/ensemble-executor.ts";
import { planEnsemble } from "../ensemble/ensemble-plan.ts";
import { completeConfig, type ModelKind } from "../model-config/complete-config.ts";
import { declaredByConfig } from "../model-config/declared-by-config.ts";
import { readAllLabels } from "../model-config/read-labels.ts";
import { readConfiguredSamples } from "../warm-up/configured-samples.ts";
import { runAsCalls } from "../warm-up/run-samples.ts";
import type { LoadContext, LoadedParts } from "./load-version.ts";
import type { ModelFolder } from "./scan.ts";

const ensembleKind: ModelKind = {
  platform: "ensemble",
  backend: "",
  filename: "",
  scheduling: ["ensembleScheduling"],
  decoupled: false,
};

/** Whether a configuration is that of an ensemble. */
export function isEnsemble(config: ModelConfig | undefined): config is ModelConfig {
  return config?.platform === "ensemble" || config?.schedulingChoice.case === "ensembleScheduling";
}

/** Names of the models that an ensemble is made of. */
export function stepModels({ schedulingChoice }: ModelConfig): string[] {
  const steps = schedulingChoice.case === "ensembleScheduling" ? schedulingChoice.value.step : [];
  return [...new Set(steps.map(({ modelName }) => modelName))];
}

/**
 * Makes the graph of an ensemble, whose models are loaded by now.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`, or why a model of it does not serve
 */
export async function loadEnsemble(
  folder: ModelFolder,
  given: ModelConfig,
  { resolve }: LoadContext,
): Promise<LoadedParts> {
  const { name } = folder;
  const labels = await readAllLabels(name, folder.path, given);
  const { config, signature } = completeConfig(
    name,
    clone(ModelConfigSchema, given),
    declaredByConfig(name, given),
    labels,
    ensembleKind,
  );
  let repeats: Repeats = "unknown";
  const plan = planEnsemble(config, signature, (step) => {
    const model = resolve(step.model, step.version);
    if (model.decoupled) {
      throw modelUnsupported(
        name,
        `its step "${step.model}" is decoupled, which no ensemble takes`,
      );
    }
    if (model.repeats === "no") repeats = "no";
    return model.signature;
  });
  const executor = new EnsembleExecutor(
    name,
    plan,
    (step, inputs, outputNames, call, options, trace) =>
      resolve(step.model, step.version).compute(inputs, outputNames, call, options, trace),
    () => plan.steps.map((step) => resolve(step.model, step.version).identity).join(),
  );
  const samples = await readConfiguredSamples(
    { name, folder: folder.path, inputs: signature.inputs, fed: [] },
    given,
  );
  const outputNames = signature.outputs.map((output) => output.name);
  await runAsCalls(name, executor, outputNames, samples);
  return { config, signature, executor, repeats, readsOptions: true };
}
