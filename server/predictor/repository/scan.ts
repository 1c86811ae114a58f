import { readdir, stat } from "node:fs/promises";
import { basename, dirname, extname, join, resolve } from "node:path";
import { fromUnknown, messageOf } from "../../errors/from-unknown.ts";
import { modelNameInvalid } from "../../errors/model-errors.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import {
  type ModelSettings,
  modelSettingsFile,
  readModelSettings,
} from "../model-config/read-model-settings.ts";
import { initialStateFolder } from "../sequences/read-states.ts";
import { compareVersions, isModelName, isVersionName } from "./model-name.ts";

/** A model as it lies on disk. */
export interface ModelFolder {
  readonly name: string;
  /** Folder that holds config.pbtxt, label files and version folders. */
  readonly path: string;
  readonly configPath: string | undefined;
  /** Path of each version's folder, or of the model file itself, by version; in rising order. */
  readonly versions: ReadonlyMap<string, string>;
  /** MLServer's settings by version, of a model that has them in place of a config.pbtxt. */
  readonly settings?: ReadonlyMap<string, ModelSettings>;
  /** Why its settings could not be followed. */
  readonly broken?: TensorwireError;
  /** True if it came with a request. */
  readonly uploaded?: true;
}

/** Version of a model that lies in the repository without a version folder. */
const onlyVersion = "1";
const modelFilenames = ["model.onnx", "model.ts", "model.mts", "model.js", "model.mjs"];
/** A file that is a model by itself. */
const modelFile = /\.(?:onnx|m?[jt]s)$/;

/**
 * Finds the models under repository paths. A path is one of
 *
 * - a folder of `<model>/<version>/model.onnx` (Triton's layout), or `model.ts`;
 * - a folder of `<folder>/model-settings.json`, or one for each version in folders of it (MLServer's layout);
 * - a folder that holds `model.onnx`, or version folders, itself: one model (KServe's /mnt/models);
 * - a single `.onnx`, `.ts` or `.js` file.
 *
 * @param modelName - name of a single model; by default the name of its file or folder
 * @throws TensorwireError `REPOSITORY_UNREADABLE` if a path cannot be read, or two models have one name
 */
export async function scanRepositories(
  paths: readonly string[],
  modelName: string | undefined,
): Promise<ModelFolder[]> {
  const found = new Map<string, ModelFolder>();
  for (const path of paths) {
    for (const model of await scanRepository(resolve(path), modelName)) {
      const other = found.get(model.name);
      if (other) {
        throw unreadable(
          path,
          `model "${model.name}" is in ${other.path} and in ${model.path}; rename one`,
        );
      }
      found.set(model.name, model);
    }
  }
  return [...found.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

async function scanRepository(path: string, modelName: string | undefined): Promise<ModelFolder[]> {
  let isFile: boolean;
  try {
    isFile = (await stat(path)).isFile();
  } catch (error) {
    throw unreadable(path, messageOf(error), error);
  }
  if (isFile) {
    if (!modelFile.test(path)) {
      throw unreadable(path, "it is a file and ends in none of .onnx, .ts, .mts, .js, .mjs");
    }
    const stem = basename(path, extname(path));
    const folder = dirname(path);
    const name = modelName ?? (stem === "model" ? basename(folder) : stem);
    return [
      single(path, name, {
        path: folder,
        configPath: undefined,
        versions: new Map([[onlyVersion, path]]),
      }),
    ];
  }
  const itself = await readModelFolder(path, path);
  if (itself) return [single(path, modelName ?? itself.name ?? basename(path), itself)];

  const models: ModelFolder[] = [];
  for (const entry of await list(path)) {
    if (!isModelName(entry)) continue;
    const folder = join(path, entry);
    if (!(await isFolder(folder))) continue;
    const model = await readModelFolder(folder, path);
    if (model) models.push({ ...model, name: model.name ?? entry });
    else models.push(...(await readSettingsFolders(folder, path)));
  }
  return joinVersions(models);
}

/** A model in a folder, with its name if its settings have one. */
type FoundModel = Omit<ModelFolder, "name"> & { readonly name?: string };

function single(path: string, name: string, model: FoundModel): ModelFolder {
  if (!isModelName(name))
    throw unreadable(path, `"${name}" cannot be a model's name; give one with --model-name`);
  return { ...model, name };
}

/** The model in a folder; `undefined` if nothing in it says that it is one. */
async function readModelFolder(path: string, root: string): Promise<FoundModel | undefined> {
  const entries = await list(path);
  if (entries.includes(modelSettingsFile) && !entries.includes("config.pbtxt"))
    return readSettings(path, root);
  const configPath = entries.includes("config.pbtxt") ? join(path, "config.pbtxt") : undefined;
  const names = entries.filter(isVersionName).sort(compareVersions);
  const versions = new Map<string, string>();
  for (const version of names) {
    const folder = join(path, version);
    if (!(await isFolder(folder))) continue;
    // Versions with settings of their own are MLServer's.
    if (!configPath && (await list(folder)).includes(modelSettingsFile)) return undefined;
    versions.set(version, folder);
  }
  if (versions.size === 0 && entries.some((name) => modelFilenames.includes(name)))
    versions.set(onlyVersion, path);
  if (versions.size === 0 && !configPath) return undefined;
  return { path, configPath, versions };
}

/** The model whose settings lie in a folder. */
async function readSettings(path: string, root: string): Promise<FoundModel> {
  const found = { path, configPath: undefined };
  try {
    const settings = await readModelSettings(join(path, modelSettingsFile), root);
    const { name, version, place } = settings;
    if (!isModelName(name)) throw modelNameInvalid(name);
    return {
      ...found,
      name,
      versions: new Map([[version, place]]),
      settings: new Map([[version, settings]]),
    };
  } catch (error) {
    return { ...found, versions: new Map([[onlyVersion, path]]), broken: fromUnknown(error) };
  }
}

/** Models whose settings lie in the folders of a folder. */
async function readSettingsFolders(path: string, root: string): Promise<ModelFolder[]> {
  const models: ModelFolder[] = [];
  for (const entry of await list(path)) {
    const folder = join(path, entry);
    if (entry.startsWith(".") || !(await isFolder(folder))) continue;
    if (!(await list(folder)).includes(modelSettingsFile)) continue;
    const model = await readSettings(folder, root);
    models.push({ ...model, name: model.name ?? entry });
  }
  return models;
}

/** Makes one model of those that differ in their version alone. */
function joinVersions(models: readonly ModelFolder[]): ModelFolder[] {
  const joined = new Map<string, ModelFolder>();
  const others: ModelFolder[] = [];
  for (const model of models) {
    const before = joined.get(model.name);
    const clash = [...(before?.versions.keys() ?? [])].some((key) => model.versions.has(key));
    if (!before) joined.set(model.name, model);
    else if (clash || !before.settings || !model.settings) others.push(model);
    else joined.set(model.name, joinOf(before, model));
  }
  return [...joined.values(), ...others];
}

function joinOf(one: ModelFolder, other: ModelFolder): ModelFolder {
  const versions = [...one.versions, ...other.versions].sort(([a], [b]) => compareVersions(a, b));
  return {
    ...one,
    versions: new Map(versions),
    settings: new Map([...one.settings!, ...other.settings!]),
  };
}

/**
 * A text that changes when a file of the model does: name, size and time of each file in its folder, in its
 * version folders and in that of its states.
 */
export async function fingerprint(model: ModelFolder): Promise<string> {
  const folders = new Set([model.path, ...model.versions.values()]);
  for (const { folder } of model.settings?.values() ?? []) folders.add(folder);
  const states = join(model.path, initialStateFolder);
  if (await isFolder(states)) folders.add(states);
  const parts: string[] = [];
  for (const folder of folders) {
    const entries = (await isFolder(folder))
      ? (await list(folder)).map((entry) => join(folder, entry))
      : [folder];
    for (const entry of entries.sort()) {
      try {
        const { size, mtimeMs, ino } = await stat(entry);
        parts.push(`${entry} ${size} ${mtimeMs} ${ino}`);
      } catch {
        // A file that went while the folder was read is a change as well.
        parts.push(`${entry} gone`);
      }
    }
  }
  return parts.join("\n");
}

async function list(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (error) {
    throw unreadable(path, messageOf(error), error);
  }
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch {
    // A link to nothing, or an entry that just went, is no folder.
    return false;
  }
}

function unreadable(path: string, why: string, cause?: unknown): TensorwireError {
  return new TensorwireError(
    "REPOSITORY_UNREADABLE",
    `model repository ${path}: ${why}`,
    { path },
    { cause },
  );
}
