// Compiles the server and its command to dist/, with the declarations that models in TypeScript need.
import { compile, compileInto, importScripts } from "./compile.mjs";

await compile("tsconfig.build.json", "dist", async (folder) => {
  await compileInto("tsconfig.model-types.json", folder);
  await importScripts(folder);
});
