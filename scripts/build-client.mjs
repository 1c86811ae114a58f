// Compiles @tensorwire/client, with the generated and shared sources that it uses, to its dist/.
import { compile, importScripts } from "./compile.mjs";

await compile("clients/typescript/tsconfig.build.json", "clients/typescript/dist", importScripts);
