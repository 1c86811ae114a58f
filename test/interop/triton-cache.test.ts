import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { addModel } from "../support/onnx-model.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findPython, runTool } from "../support/tools.ts";

const script = fileURLToPath(new URL("python/triton_cache.py", import.meta.url));
const triton = findPython("triton");

for (const execution of ["inline", "worker"]) {
  (triton ? test : test.skip)(
    `tritonclient reads from the statistics which calls were cached, ${execution}`,
    async (t) => {
      const folder = await temporaryFolder(t, {
        "adder/config.pbtxt": "response_cache { enable: true }",
        "adder/1/model.onnx": addModel(1),
      });
      const flags = ["--response-cache-size", "1MiB", "--execution", execution];
      const server = await startServer(t, [folder, ...flags]);
      const { code, output } = await runTool(triton!, [script, server.address, "adder"]);
      t.is(code, 0, output);
      t.regex(output, /\d+ checks/);
    },
  );
}
