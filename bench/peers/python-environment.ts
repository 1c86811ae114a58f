import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Says that a virtual environment is not there, or undefined. */
export function missingEnvironment(tools: string, name: string): string | undefined {
  return existsSync(join(tools, name, ".installed"))
    ? undefined
    : "not installed; run scripts/install-interop-tools.sh --bench";
}

/** Interpreter of a virtual environment. */
export function pythonOf(tools: string, name: string): string {
  return join(tools, name, "bin", "python");
}

/** Folder of the servers written in Python. */
export const pythonFolder = fileURLToPath(new URL("python", import.meta.url));
