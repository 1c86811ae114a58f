import { fileURLToPath } from "node:url";
import test from "ava";
import { findPython, runTool } from "../../support/tools.ts";
import { certificate, tlsFlags } from "./certificates.ts";
import { startIdentity } from "./identity-server.ts";

// grpcio: gRPC's C core under Python.

const script = fileURLToPath(new URL("../python/wire_clients.py", import.meta.url));
const python = findPython("triton");
const maybe = python ? test : test.skip;

for (const [name, flags, args] of [
  ["cleartext", [], []],
  ["TLS", tlsFlags, [certificate("ca.pem")]],
] as const) {
  maybe(`grpcio over ${name}: streams, cancels, deadlines, keepalive, sizes`, async (t) => {
    const server = await startIdentity(t, ...flags);
    const { code, output } = await runTool(python!, [script, server.address, ...args]);
    t.is(code, 0, output);
    t.log(/\d+ checks/.exec(output)?.[0]);
    t.regex(output, /\d+ checks/);
  });
}
