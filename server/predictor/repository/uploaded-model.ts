import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { parameterInvalid } from "../../errors/request-errors.ts";
import { initialStateFolder } from "../sequences/read-states.ts";
import { warmUpFolder } from "../warm-up/configured-samples.ts";
import { compareVersions, isVersionName } from "./model-name.ts";
import type { ModelFolder } from "./scan.ts";

/** A model that came with a request, in a temporary folder of its own. */
export interface UploadedModel {
  readonly folder: ModelFolder;
  /** Deletes the folder. */
  remove(): Promise<void>;
}

/** A file of a version folder, or one in a folder of it. */
const filePattern = /^\d+(?:\/[A-Za-z0-9_][A-Za-z0-9_.-]*){1,4}$/;

/** A file that the configuration names: the start of a state of sequences, or the data of a warm-up. */
const namedPattern = new RegExp(
  `^(?:${initialStateFolder}|${warmUpFolder})/[A-Za-z0-9_][A-Za-z0-9_.-]*$`,
);

/**
 * Writes the files of a load request (Triton's parameters `file:<version>/<file>`) where the engine can
 * open them.
 *
 * @param config - such a model has no config.pbtxt, so the request has to bring one
 * @throws TensorwireError `PARAMETER_INVALID`
 */
export async function storeUpload(
  model: string,
  config: ModelConfig | undefined,
  files: ReadonlyMap<string, Uint8Array>,
): Promise<UploadedModel> {
  if (!config) {
    const [file] = files.keys();
    throw parameterInvalid(
      `file:${file}`,
      "files without a configuration",
      'the parameter "config" beside them, with the ModelConfig as JSON',
    );
  }
  for (const path of files.keys()) {
    if (namedPattern.test(path)) continue;
    if (!filePattern.test(path) || !isVersionName(path.split("/")[0]!)) {
      throw parameterInvalid(
        `file:${path}`,
        JSON.stringify(path),
        'a path as "1/model.onnx", "initial_state/NAME" or "warmup/NAME", a version and a file of letters, digits, "_", "-" and "."',
      );
    }
  }
  const path = await mkdtemp(join(tmpdir(), "tensorwire-model-"));
  try {
    const versions = new Set<string>();
    for (const [file, bytes] of files) {
      const target = join(path, file);
      await mkdir(dirname(target), { recursive: true });
      await writeFile(target, bytes);
      if (!namedPattern.test(file)) versions.add(file.split("/")[0]!);
    }
    const folders = [...versions]
      .sort(compareVersions)
      .map((version) => [version, join(path, version)] as const);
    return {
      folder: {
        name: model,
        path,
        configPath: undefined,
        versions: new Map(folders),
        uploaded: true,
      },
      remove: () => rm(path, { recursive: true, force: true }),
    };
  } catch (error) {
    await rm(path, { recursive: true, force: true });
    throw error;
  }
}
