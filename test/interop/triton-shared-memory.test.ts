import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { findPython, runTool } from "../support/tools.ts";

const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
const triton = existsSync("/dev/shm") ? findPython("triton") : undefined;

const ways: readonly (readonly [string, readonly string[]])[] = [
  ["inline", ["--execution", "inline"]],
  ["in worker threads", ["--execution", "worker"]],
  ["of two processes", ["--workers", "2"]],
];
for (const [where, flags] of ways) {
  (triton ? test : test.skip)(
    `tritonclient sends and gets tensors through shared memory, models ${where}`,
    async (t) => {
      const server = await startServer(t, [
        path("../fixtures/models"),
        "--allow-shared-memory",
        ...flags,
      ]);
      const script = path("python/triton_shared_memory.py");
      const { code, output } = await runTool(triton!, [script, server.address]);
      t.is(code, 0, output);
      t.regex(output, /\d+ checks/);
    },
  );
}
