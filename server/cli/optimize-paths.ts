import { readdirSync, statSync } from "node:fs";
import { basename, dirname, extname, join, resolve } from "node:path";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";

/** A model file and what it is called. */
export interface ModelPath {
  /** Name of the model's folder, or of the file without `.onnx`. */
  readonly name: string;
  /** Version of a model folder; "1" for a file by itself. */
  readonly version: string;
  readonly file: string;
}

const modelFile = "model.onnx";

/**
 * Finds the model file that an argument names: a file, a folder with model.onnx in it, or the folder of a
 * model, of which it takes the newest version.
 *
 * @throws TensorwireError `SETTING_INVALID` that says what there is
 */
export function findModel(path: string): ModelPath {
  const absolute = resolve(path);
  try {
    if (statSync(absolute).isFile()) return namedByPath(absolute);
    const entries = readdirSync(absolute);
    if (entries.includes(modelFile)) return namedByPath(join(absolute, modelFile));
    const versions = entries
      .filter((entry) => /^[1-9]\d*$/.test(entry))
      .sort((left, right) => Number(right) - Number(left));
    const version = versions[0];
    if (version !== undefined && readdirSync(join(absolute, version)).includes(modelFile))
      return namedByPath(join(absolute, version, modelFile));
  } catch (error) {
    throw invalid(path, messageOf(error));
  }
  throw invalid(path, `the folder has neither ${modelFile} nor <version>/${modelFile}`);
}

/**
 * The file to write: the path itself if it ends in .onnx, else `<version>/model.onnx` in that folder.
 *
 * @throws TensorwireError `SETTING_INVALID` if it is the model itself, or is there and may not be replaced
 */
export function outputFile(path: string, model: ModelPath, existing: "keep" | "replace"): string {
  const absolute = resolve(path);
  const file = extname(absolute) === ".onnx" ? absolute : join(absolute, model.version, modelFile);
  const there = statSync(file, { throwIfNoEntry: false });
  if (!there) return file;
  const source = statSync(model.file);
  if (there.ino === source.ino && there.dev === source.dev) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `flag --output: got ${path}, which is the model itself; name another file, so that the original stays`,
      { path },
    );
  }
  if (existing === "replace" && there.isFile()) return file;
  throw new TensorwireError(
    "SETTING_INVALID",
    `flag --output: ${file} is there already; name another path, or give --overwrite to replace it`,
    { path: file },
  );
}

function namedByPath(file: string): ModelPath {
  const version = basename(dirname(file));
  if (basename(file) === modelFile && /^[1-9]\d*$/.test(version))
    return { name: basename(dirname(dirname(file))), version, file };
  return { name: basename(file, ".onnx"), version: "1", file };
}

function invalid(path: string, why: string): TensorwireError {
  return new TensorwireError(
    "SETTING_INVALID",
    `got model ${path}, expected an .onnx file or a model folder with <version>/${modelFile}: ${why}`,
    { path },
  );
}
