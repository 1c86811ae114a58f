import { spawn } from "node:child_process";
import { once } from "node:events";
import { glob, mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));

/**
 * Has a folder written anew. The output takes the place of the last one when it is complete, so that
 * nothing of an earlier build is left and whoever reads it meanwhile finds all of it.
 *
 * @param {string} outDir - where the output goes, from the root of the repository
 * @param {(folder: string) => Promise<void>} write - puts it into the folder of that absolute path
 */
export async function replaceFolder(outDir, write) {
  const folder = join(root, "node_modules", ".cache", "tensorwire", `build-${process.pid}`);
  await rm(folder, { recursive: true, force: true });
  await mkdir(dirname(folder), { recursive: true });
  await write(folder);
  await rm(join(root, outDir), { recursive: true, force: true });
  await rename(folder, join(root, outDir));
  console.log(`${outDir}/ is built`);
}

/**
 * Compiles a TypeScript project into a folder that may hold other output. If that fails, removes the
 * folder and ends the program with the compiler's status.
 *
 * @param {string} project - its tsconfig file, from the root of the repository
 * @param {string} folder - as an absolute path
 */
export async function compileInto(project, folder) {
  const typescript = fileURLToPath(import.meta.resolve("typescript/package.json"));
  const tsc = join(dirname(typescript), "bin", "tsc");
  const compiler = spawn(process.execPath, [tsc, "-p", project, "--outDir", folder], {
    cwd: root,
    stdio: "inherit",
  });
  const [status] = await once(compiler, "exit");
  if (status === 0) return;
  await rm(folder, { recursive: true, force: true });
  process.exit(status ?? 1);
}

/**
 * Has declarations import what is there: the compiler rewrites the extensions of relative imports in
 * JavaScript only.
 *
 * @param {string} folder
 */
export async function importScripts(folder) {
  for await (const name of glob("**/*.d.ts", { cwd: folder })) {
    const file = join(folder, name);
    const source = await readFile(file, "utf8");
    await writeFile(file, source.replace(/((?:from |import\()"\.{1,2}\/[^"]+)\.ts"/g, '$1.js"'));
  }
}
