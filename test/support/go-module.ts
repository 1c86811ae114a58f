import { existsSync } from "node:fs";
import { join } from "node:path";
import { findTool, runTool } from "./tools.ts";

/** Folder of a module, `path@version`, in Go's module cache; `undefined` if it is not there. */
export async function findModule(module: string): Promise<string | undefined> {
  const go = findTool("go");
  if (!go) return undefined;
  const { code, output } = await runTool(go, ["env", "GOMODCACHE"]);
  const folder = join(output.trim(), module);
  return code === 0 && existsSync(folder) ? folder : undefined;
}
