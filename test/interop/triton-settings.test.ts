import { join } from "node:path";
import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findPython, runTool } from "../support/tools.ts";

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const triton = findPython("triton");

(triton ? test : test.skip)(
  "tritonclient sets the log and traces, and reads statistics that agree with its calls",
  async (t) => {
    const traces = join(await temporaryFolder(t, {}), "traces");
    const server = await startServer(t, [path("../../examples/models"), "--trace-dir", traces]);
    const { code, output } = await runTool(triton!, [
      path("python/triton_settings.py"),
      server.address,
      traces,
    ]);
    t.is(code, 0, output);
    t.regex(output, /\d+ checks/);
  },
);
