import { fileURLToPath } from "node:url";
import test from "ava";
import { findTool, runTool } from "../support/tools.ts";
import { generateSuiteProtos } from "./suite-protos.ts";

// The product's transports as Connect's conformance suite sees them: gRPC, gRPC-Web and Connect over
// HTTP/2 by the channels of server/wire/client, gRPC-Web and Connect over HTTP/1.1 by node:http, with TLS
// and without, in all codecs, compressions and kinds of streams. There is no list of known failures.

const conformance = findTool("connectconformance");
const path = (name: string): string => fileURLToPath(new URL(name, import.meta.url));

(conformance ? test : test.skip)("connectconformance: the client passes every case", async (t) => {
  t.timeout(600_000);
  t.is(await generateSuiteProtos(), undefined);
  const { code, output } = await runTool(conformance!, [
    ...["--mode", "client", "--conf", path("client-config.yaml")],
    ...["--", process.execPath, path("reference-client.ts")],
  ]);
  t.is(code, 0, output.slice(-20_000));
  t.log(/Total cases: \d+[\s\S]*$/.exec(output)?.[0]);
  t.regex(output, /\b0 failed\b/);
});
