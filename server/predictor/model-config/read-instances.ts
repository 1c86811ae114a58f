import {
  type ModelConfig,
  type ModelInstanceGroup,
  ModelInstanceGroup_Kind,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid, modelUnsupported } from "../../errors/model-errors.ts";

/** Instances at most: each is a thread with a session of its own. */
const mostInstances = 64;

/**
 * The groups of instance_group that take calls, each with its count, 1 if it is left out.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID`
 */
export function readGroups(
  model: string,
  config: ModelConfig | undefined,
): readonly ModelInstanceGroup[] {
  const groups: ModelInstanceGroup[] = [];
  for (const group of config?.instanceGroup ?? []) {
    const { count, passive } = group;
    if (count < 0) {
      throw modelConfigInvalid(model, `has instance_group count ${count}, expected 1 or more`);
    }
    if (!passive) groups.push({ ...group, count: count || 1 });
  }
  return groups;
}

/** @throws TensorwireError `MODEL_CONFIG_INVALID` for more than a server holds */
export function checkInstances(model: string, instances: number): void {
  if (instances <= mostInstances) return;
  throw modelConfigInvalid(
    model,
    `asks for ${instances} instances, expected at most ${mostInstances}`,
  );
}

/**
 * How many instances instance_group asks for, of a model that runs on the CPU whatever there is.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED` for a GPU
 */
export function readInstances(model: string, config: ModelConfig | undefined): number {
  let instances = 0;
  for (const { name, count, kind } of readGroups(model, config)) {
    if (kind === ModelInstanceGroup_Kind.GPU) {
      throw modelUnsupported(
        model,
        `instance_group ${name ? `"${name}" ` : ""}is KIND_GPU, and such a model runs on the CPU; use KIND_CPU or KIND_AUTO`,
      );
    }
    instances += count;
  }
  checkInstances(model, instances);
  return Math.max(instances, 1);
}
