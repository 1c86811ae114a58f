// Compiles @tensorwire/client, with the generated and shared sources that it uses, to its dist/.
import { glob, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { compile } from "./compile.mjs";

await compile("clients/typescript/tsconfig.build.json", "clients/typescript/dist", finish);

/** The compiler rewrites the extensions of relative imports in JavaScript, not in declarations. */
async function finish(folder) {
  for await (const name of glob("**/*.d.ts", { cwd: folder })) {
    const file = join(folder, name);
    const source = await readFile(file, "utf8");
    await writeFile(file, source.replace(/((?:from |import\()"\.{1,2}\/[^"]+)\.ts"/g, '$1.js"'));
  }
}
