import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

/** Folder that scripts/install-interop-tools.sh installs into. */
export const toolsFolder =
  process.env.TENSORWIRE_TOOLS ?? fileURLToPath(new URL("../../.cache/tools", import.meta.url));

/** Path of a program that was installed for interoperability, or is on the PATH; `undefined` without. */
export function findTool(name: string): string | undefined {
  const folders = [join(toolsFolder, "bin"), ...(process.env.PATH ?? "").split(delimiter)];
  return folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
}

/** Python of a virtual environment of the tools; `undefined` if it is not installed. */
export function findPython(environment: string): string | undefined {
  const path = join(toolsFolder, environment, "bin", "python");
  return existsSync(join(toolsFolder, environment, ".installed")) ? path : undefined;
}

const run = promisify(execFile);

/** Runs a program to its end; output in all, also of one that fails. */
export async function runTool(
  path: string,
  args: readonly string[],
): Promise<{ readonly code: number; readonly output: string }> {
  try {
    const { stdout, stderr } = await run(path, args, {
      timeout: 240_000,
      maxBuffer: 32 * 1024 * 1024,
    });
    return { code: 0, output: stdout + stderr };
  } catch (error) {
    const {
      code,
      stdout = "",
      stderr = "",
    } = error as { code?: number; stdout?: string; stderr?: string };
    return { code: typeof code === "number" ? code : -1, output: stdout + stderr };
  }
}
