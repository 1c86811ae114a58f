// Bundles the server and its command into dist/, with the declarations that models in TypeScript need.
import { bundle } from "./bundle.mjs";
import { compileInto, importScripts, replaceFolder } from "./compile.mjs";

await replaceFolder("dist", async (folder) => {
  await bundle(folder);
  await compileInto("tsconfig.model-types.json", folder);
  await importScripts(folder);
});
