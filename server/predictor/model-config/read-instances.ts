import {
  type ModelConfig,
  ModelInstanceGroup_Kind,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid, modelUnsupported } from "../../errors/model-errors.ts";

/** Instances at most: each is a thread with a session of its own. */
const mostInstances = 64;

/**
 * How many instances instance_group asks for: the sum of its counts, each 1 if it is left out.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED` for a kind of device that is not there
 */
export function readInstances(model: string, config: ModelConfig | undefined): number {
  let instances = 0;
  for (const { name, count, kind, passive } of config?.instanceGroup ?? []) {
    if (kind === ModelInstanceGroup_Kind.GPU) {
      throw modelUnsupported(
        model,
        `instance_group ${name ? `"${name}" ` : ""}is KIND_GPU, and this server runs models on the CPU; use KIND_CPU or KIND_AUTO`,
      );
    }
    if (count < 0) {
      throw modelConfigInvalid(model, `has instance_group count ${count}, expected 1 or more`);
    }
    if (!passive) instances += count || 1;
  }
  if (instances > mostInstances) {
    throw modelConfigInvalid(
      model,
      `asks for ${instances} instances, expected at most ${mostInstances}`,
    );
  }
  return Math.max(instances, 1);
}
