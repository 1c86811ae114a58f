// Compiles @tensorwire/client, with the generated and shared sources that it uses, to its dist/.
import { glob, readFile, writeFile } from "node:fs/promises";
import { compile } from "./compile.mjs";

const dist = "clients/typescript/dist";
await compile("clients/typescript/tsconfig.build.json", dist);

// The compiler rewrites the extensions of relative imports in JavaScript, and not in declarations.
for await (const file of glob(`${dist}/**/*.d.ts`)) {
  const source = await readFile(file, "utf8");
  await writeFile(file, source.replace(/((?:from |import\()"\.{1,2}\/[^"]+)\.ts"/g, '$1.js"'));
}
