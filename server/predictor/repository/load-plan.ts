import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { modelLoadFailed } from "../../errors/model-errors.ts";
import { readConfigFile } from "../model-config/read-config.ts";
import type { FreeBatching } from "../scheduling/batch-policy.ts";
import { isEnsemble, stepModels } from "./load-ensemble.ts";
import type { ModelFolder } from "./scan.ts";
import { selectVersions } from "./select-versions.ts";

/** Which versions of a model are to be in memory, and with which configuration. */
export interface LoadPlan {
  /** As the model's config.pbtxt or the load request has it; `undefined` without one. */
  readonly config: ModelConfig | undefined;
  readonly versions: readonly string[];
  /** Set if the configuration is that of MLServer's settings. */
  readonly batching?: FreeBatching | undefined;
  /** Models that it is made of. */
  readonly steps: readonly string[];
}

/**
 * Reads what is to be loaded of a model's folder.
 *
 * @param override - in place of config.pbtxt or model-settings.json
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`, `MODEL_LOAD_FAILED` for a folder without
 * versions
 */
export async function readPlan(
  folder: ModelFolder,
  override: ModelConfig | undefined,
): Promise<LoadPlan> {
  const { name } = folder;
  if (!override && folder.broken) throw folder.broken;
  const settings = override ? undefined : [...(folder.settings?.values() ?? [])].at(-1);
  const config =
    override ??
    settings?.config ??
    (folder.configPath ? await readConfigFile(name, folder.configPath) : undefined);
  const steps = isEnsemble(config) ? stepModels(config) : [];
  // An ensemble is its configuration, and needs no folder for it.
  const versions =
    isEnsemble(config) && folder.versions.size === 0
      ? ["1"]
      : selectVersions(name, config, [...folder.versions.keys()]);
  if (versions.length > 0) return { config, versions, steps, batching: settings?.batching };
  throw modelLoadFailed(
    name,
    "its folder has no version, a subfolder with a positive number as its name",
  );
}
