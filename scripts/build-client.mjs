// Compiles @tensorwire/client, with the generated and shared sources that it uses, to its dist/.
import { compileInto, importScripts, replaceFolder } from "./compile.mjs";

await replaceFolder("clients/typescript/dist", async (folder) => {
  await compileInto("clients/typescript/tsconfig.build.json", folder);
  await importScripts(folder);
});
