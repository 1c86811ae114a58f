// Compiles the server and its command to dist/.
import { compile } from "./compile.mjs";

await compile("tsconfig.build.json", "dist");
