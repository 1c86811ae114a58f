import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import { modelLoadFailed, modelUnsupported } from "../../errors/model-errors.ts";
import { isPlainFileName } from "../model-config/plain-file-name.ts";
import type { ModelFolder } from "./scan.ts";

/**
 * Path of the model file of a version: `model.onnx`, or what default_model_filename says.
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED` if it is not there, `MODEL_UNSUPPORTED` for a name that is a
 * path
 */
export async function modelFile(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
): Promise<string> {
  const place = versionPlace(folder, version);
  if (await isModelFile(folder.name, version, place)) return place;
  const filename = config?.defaultModelFilename || "model.onnx";
  if (!isPlainFileName(filename)) {
    throw modelUnsupported(
      folder.name,
      `default_model_filename ${JSON.stringify(filename)} is a path; name a file of the version folder`,
    );
  }
  const path = join(place, filename);
  try {
    await stat(path);
  } catch (error) {
    throw modelLoadFailed(folder.name, `version ${version} has no file ${filename}`, error);
  }
  return path;
}

async function isModelFile(model: string, version: string, place: string): Promise<boolean> {
  try {
    return (await stat(place)).isFile();
  } catch (error) {
    throw modelLoadFailed(
      model,
      `version ${version} is not there any more: ${messageOf(error)}`,
      error,
    );
  }
}

/**
 * Folder of a version, or the model file that stands for it.
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED`
 */
export function versionPlace(folder: ModelFolder, version: string): string {
  const place = folder.versions.get(version);
  if (place === undefined) throw modelLoadFailed(folder.name, `it has no version ${version}`);
  return place;
}
