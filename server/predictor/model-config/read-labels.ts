import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import { isPlainFileName } from "./plain-file-name.ts";

/**
 * Reads a label file: one class name a line, the line's number is the class.
 *
 * @param folder - the model's folder
 * @param filename - `label_filename` of an output; a file in that folder, no path
 * @throws TensorwireError `MODEL_CONFIG_INVALID` if it is a path or cannot be read
 */
export async function readLabels(
  model: string,
  folder: string,
  filename: string,
): Promise<string[]> {
  if (!isPlainFileName(filename)) {
    throw modelConfigInvalid(
      model,
      `names label_filename ${JSON.stringify(filename)}, expected a file in the model's folder, without a path`,
    );
  }
  try {
    const text = await readFile(join(folder, filename), "utf8");
    const lines = text.split(/\r?\n/);
    if (lines.at(-1) === "") lines.pop();
    return lines;
  } catch (error) {
    throw modelConfigInvalid(
      model,
      `names label_filename ${JSON.stringify(filename)}, which cannot be read: ${messageOf(error)}`,
      error,
    );
  }
}

/** Labels of all outputs that name a file, by output. */
export async function readAllLabels(
  model: string,
  folder: string,
  config: ModelConfig | undefined,
): Promise<Map<string, string[]>> {
  const labels = new Map<string, string[]>();
  for (const { name, labelFilename } of config?.output ?? []) {
    if (labelFilename !== "") labels.set(name, await readLabels(model, folder, labelFilename));
  }
  return labels;
}
