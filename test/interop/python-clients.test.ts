import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findPython, runTool } from "../support/tools.ts";

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const fixtures = path("../fixtures/models");
const examples = path("../../examples/models");

const triton = findPython("triton");
const kserve = findPython("kserve");

(triton ? test : test.skip)(
  "tritonclient over gRPC, asyncio and HTTP agrees with ONNX Runtime in Python",
  async (t) => {
    // Models that come with a call are kept where no other test counts them.
    const server = await startServer(t, [fixtures], { TMPDIR: await temporaryFolder(t) });
    const { code, output } = await runTool(triton!, [
      path("python/triton_clients.py"),
      server.address,
      fixtures,
    ]);
    t.is(code, 0, output);
    t.regex(output, /\d+ checks/);
  },
);

(triton ? test : test.skip)(
  "tritonclient agrees with ONNX Runtime in Python on the example models",
  async (t) => {
    const server = await startServer(t, [examples]);
    const { code, output } = await runTool(triton!, [
      path("python/example_models.py"),
      server.address,
      examples,
    ]);
    t.is(code, 0, output);
    t.regex(output, /\d+ checks/);
  },
);

(kserve ? test : test.skip)(
  "KServe's InferenceGRPCClient and InferenceRESTClient agree with the samples",
  async (t) => {
    const server = await startServer(t, [examples]);
    const { code, output } = await runTool(kserve!, [
      path("python/kserve_clients.py"),
      server.address,
      examples,
    ]);
    t.is(code, 0, output);
    t.regex(output, /\d+ checks/);
  },
);
