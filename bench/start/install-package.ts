import { cp, mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { join } from "node:path";

/** What of the package the server runs from. */
const parts = ["bin", "dist", "proto", "package.json"];

/**
 * Lays the built package out as an install does: its files under node_modules, what it depends on beside
 * it. Gives the path of the command.
 *
 * @param root - the checkout, with `dist/` as `npm run build` makes it
 * @param folder - an empty folder
 * @throws Error if nothing was built
 */
export async function installPackage(root: string, folder: string): Promise<string> {
  const modules = join(folder, "node_modules");
  const target = join(modules, "tensorwire");
  await mkdir(target, { recursive: true });
  for (const part of parts) await cp(join(root, part), join(target, part), { recursive: true });
  const manifest = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as {
    readonly dependencies: Readonly<Record<string, string>>;
  };
  // A link leads Node to the checkout, where the dependencies of each dependency are found too.
  for (const scope of new Set(Object.keys(manifest.dependencies).map(firstPart))) {
    await symlink(join(root, "node_modules", scope), join(modules, scope));
  }
  if (!(await readdir(join(target, "dist"))).includes("server"))
    throw new Error("dist/ holds no server; run npm run build");
  return join(target, "bin", "tensorwire.js");
}

function firstPart(name: string): string {
  return name.split("/")[0] ?? name;
}
