import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import type { ModelFolder } from "./scan.ts";

/**
 * Size of the files of a version, in bytes: weights that lie beside model.onnx included. It foretells what the
 * version takes in memory, before it was ever loaded.
 */
export async function versionBytes(folder: ModelFolder, version: string): Promise<number> {
  const place = folder.versions.get(version);
  if (place === undefined) return 0;
  try {
    const found = await stat(place);
    if (!found.isDirectory()) return found.size;
    const names = await readdir(place);
    const sizes = await Promise.all(names.map((name) => fileBytes(join(place, name))));
    return sizes.reduce((sum, bytes) => sum + bytes, 0);
  } catch {
    // A folder that went is the load's to complain about.
    return 0;
  }
}

async function fileBytes(path: string): Promise<number> {
  const found = await stat(path);
  return found.isFile() ? found.size : 0;
}
