import { fileURLToPath } from "node:url";
import test from "ava";
import { findTool, runTool } from "../support/tools.ts";
import { generateSuiteProtos } from "./suite-protos.ts";

// The server as Connect's conformance suite sees it (https://github.com/connectrpc/conformance): gRPC,
// gRPC-Web and Connect over HTTP/1.1 and HTTP/2, with TLS and without, in all codecs, compressions and
// kinds of streams. There is no list of known failures.

const conformance = findTool("connectconformance");
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

(conformance ? test : test.skip)("connectconformance: the server passes every case", async (t) => {
  t.timeout(600_000);
  t.is(await generateSuiteProtos(), undefined);
  const { code, output } = await runTool(conformance!, [
    ...["--mode", "server", "--conf", path("server-config.yaml"), "--parallel", "4"],
    ...["--", process.execPath, path("reference-server.ts")],
  ]);
  t.is(code, 0, output.slice(-20_000));
  t.log(/Total cases: \d+[\s\S]*$/.exec(output)?.[0]);
  t.regex(output, /\b0 failed\b/);
});
