import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import type { ModelFolder } from "./scan.ts";

/** What the files of a version say of the memory that it will take, in bytes. */
export interface ForetoldBytes {
  /** Size of the model's own file, for each instance. */
  readonly least: number;
  /** With what lies beside it in its folder, other models aside: weights may be in files of their own. */
  readonly likely: number;
}

/** Foretells what a version takes in memory that was never loaded. */
export async function foretellBytes(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
): Promise<ForetoldBytes> {
  const place = folder.versions.get(version);
  if (place === undefined) return nothing;
  const instances = instancesOf(config);
  try {
    const found = await stat(place);
    if (!found.isDirectory())
      return { least: found.size * instances, likely: found.size * instances };
    const own = config?.defaultModelFilename || "model.onnx";
    let least = 0;
    let likely = 0;
    for (const name of await readdir(place)) {
      if (name !== own && name.endsWith(".onnx")) continue;
      const bytes = await fileBytes(join(place, name));
      likely += bytes * instances;
      if (name === own) least = bytes * instances;
    }
    return { least, likely };
  } catch {
    // A folder that went is the load's to complain about.
    return nothing;
  }
}

const nothing: ForetoldBytes = { least: 0, likely: 0 };

function instancesOf(config: ModelConfig | undefined): number {
  const counts = (config?.instanceGroup ?? []).map(({ count }) => Math.max(count, 1));
  return Math.max(
    counts.reduce((sum, count) => sum + count, 0),
    1,
  );
}

async function fileBytes(path: string): Promise<number> {
  const found = await stat(path);
  return found.isFile() ? found.size : 0;
}
