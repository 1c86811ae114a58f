// Builds the page of examples/digits-page to its dist/; @tensorwire/client must be built before.
import { fileURLToPath } from "node:url";
import { build } from "vite";

await build({
  root: fileURLToPath(new URL("../examples/digits-page", import.meta.url)),
  logLevel: "warn",
});
console.log("examples/digits-page built to examples/digits-page/dist/");
