import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findPython, runTool } from "../support/tools.ts";

const script = (name: string): string =>
  fileURLToPath(new URL(`python/${name}.py`, import.meta.url));

const python = findPython("triton");

for (const execution of ["auto", "worker"]) {
  (python ? test : test.skip)(
    `every datatype in every form, shared runs and an ensemble agree with ONNX Runtime in Python, with --execution ${execution}`,
    async (t) => {
      const folder = await temporaryFolder(t);
      const made = await runTool(python!, [script("differential_models"), folder]);
      t.is(made.code, 0, made.output);
      const server = await startServer(t, [folder, "--execution", execution]);
      const { code, output } = await runTool(python!, [
        script("differential"),
        server.address,
        folder,
      ]);
      t.is(code, 0, output);
      t.regex(output, /^seed \d+/);
      t.regex(output, /\d+ checks\n$/);
    },
  );
}
