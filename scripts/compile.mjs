import { spawn } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const root = new URL("../", import.meta.url);

/**
 * Compiles a TypeScript project into an empty folder. Ends the program with the compiler's status
 * if that fails.
 *
 * @param {string} project - its tsconfig file, from the root of the repository
 * @param {string} outDir - the folder that the tsconfig names, from the root as well
 */
export async function compile(project, outDir) {
  // A file of an earlier build whose source is gone must not reach a package.
  await rm(new URL(`${outDir}/`, root), { recursive: true, force: true });
  const compiler = fileURLToPath(import.meta.resolve("typescript/package.json"));
  const tsc = compiler.replace(/package\.json$/, "bin/tsc");
  const child = spawn(process.execPath, [tsc, "-p", project], {
    cwd: fileURLToPath(root),
    stdio: "inherit",
  });
  const [status] = await once(child, "exit");
  if (status !== 0) process.exit(status ?? 1);
  console.log(`${project} compiled to ${outDir}/`);
}
