import { modelNameInvalid, modelVersionInvalid } from "../../errors/model-errors.ts";

/** Longest model name; that of a file name on most file systems. */
const maxNameLength = 255;

/** Whether a name can be that of a model: it is used as the name of a folder, so it holds no path. */
export function isModelName(name: string): boolean {
  return name.length > 0 && name.length <= maxNameLength && !/^\.|[/\\\p{Cc}]/u.test(name);
}

/** @throws TensorwireError `MODEL_NAME_INVALID` */
export function checkModelName(name: string): void {
  if (!isModelName(name)) throw modelNameInvalid(name);
}

/** Whether a folder's name is that of a version: a positive integer without leading zeros. */
export function isVersionName(name: string): boolean {
  return /^[1-9]\d{0,18}$/.test(name);
}

/**
 * Checks the version of a request.
 *
 * @throws TensorwireError `MODEL_VERSION_INVALID` unless it is empty or a positive integer
 */
export function checkVersion(model: string, version: string): void {
  if (version !== "" && !isVersionName(version)) throw modelVersionInvalid(model, version);
}

/** Orders version names as numbers. */
export function compareVersions(a: string, b: string): number {
  return a.length - b.length || (a < b ? -1 : a > b ? 1 : 0);
}
