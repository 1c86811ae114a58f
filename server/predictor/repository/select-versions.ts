import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";

/**
 * The versions that a version policy asks for, in rising order: by default the newest one.
 *
 * @param available - versions on disk in rising order
 * @throws TensorwireError `MODEL_CONFIG_INVALID` if a specific version is not there
 */
export function selectVersions(
  model: string,
  config: ModelConfig | undefined,
  available: readonly string[],
): string[] {
  const policy = config?.versionPolicy?.policyChoice;
  switch (policy?.case) {
    case "all":
      return [...available];
    case "specific": {
      const wanted = policy.value.versions.map(String);
      const missing = wanted.filter((version) => !available.includes(version));
      if (missing.length > 0) {
        throw modelConfigInvalid(
          model,
          `asks for version ${missing.join(", ")}, the folder has ${available.join(", ") || "none"}`,
        );
      }
      return available.filter((version) => wanted.includes(version));
    }
    case "latest":
      return available.slice(-Math.max(policy.value.numVersions, 1));
    case undefined:
      return available.slice(-1);
  }
}
