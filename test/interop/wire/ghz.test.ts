import test from "ava";
import { startServer } from "../../support/command.ts";
import { findTool, runTool } from "../../support/tools.ts";
import { certificate, tlsFlags } from "./certificates.ts";
import { startIdentity } from "./identity-server.ts";

// ghz: grpc-go as a load generator, which takes the service from reflection.

const ghz = findTool("ghz");
const maybe = ghz ? test : test.skip;

const request = JSON.stringify({
  model_name: "identity",
  id: "{{.RequestNumber}}",
  inputs: [{ name: "x", datatype: "FP32", shape: [3], contents: { fp32_contents: [1, 2, 3] } }],
});
// Each stream of ModelStreamInfer sends so many requests.
const streamed = JSON.stringify(Array.from({ length: 10 }, () => JSON.parse(request)));

interface Report {
  readonly count: number;
  readonly statusCodeDistribution: Readonly<Record<string, number>>;
}

async function load(address: string, method: string, ...args: string[]): Promise<Report> {
  const { output } = await runTool(ghz!, [
    ...["--call", `inference.GRPCInferenceService/${method}`, "--format", "json"],
    ...[...args, address],
  ]);
  try {
    return JSON.parse(output) as Report;
  } catch {
    throw new Error(output);
  }
}

for (const [name, flags, args] of [
  ["cleartext", [], ["--insecure"]],
  ["TLS", tlsFlags, ["--cacert", certificate("ca.pem"), "--cname", "localhost"]],
] as const) {
  maybe(`ghz over ${name}: 4000 calls, 50 at once on 4 connections`, async (t) => {
    const server = await startIdentity(t, ...flags);
    const calls = ["--total", "4000", "--concurrency", "50", "--connections", "4"];
    const report = await load(server.address, "ModelInfer", ...args, ...calls, "--data", request);
    t.deepEqual(report.statusCodeDistribution, { OK: 4000 });
  });

  maybe(`ghz over ${name}: 200 streams of 10 requests, 20 at once`, async (t) => {
    const server = await startIdentity(t, ...flags);
    const calls = ["--total", "200", "--concurrency", "20", "--connections", "2"];
    const report = await load(
      server.address,
      "ModelStreamInfer",
      ...args,
      ...calls,
      "--data",
      streamed,
    );
    t.deepEqual(report.statusCodeDistribution, { OK: 200 });
  });
}

maybe("ghz: errors and deadlines are what gRPC's codes say", async (t) => {
  const server = await startIdentity(t);
  const calls = ["--insecure", "--total", "200", "--concurrency", "20"];
  const unknown = request.replace("identity", "none");
  const missing = await load(server.address, "ModelInfer", ...calls, "--data", unknown);
  t.deepEqual(missing.statusCodeDistribution, { NotFound: 200 });
  // 1000 rounds take seconds in the model, so none is answered before its deadline.
  const { address } = await startServer(t, ["test/fixtures/models/slow", "--drain-timeout", "1ms"]);
  const rounds = {
    name: "rounds",
    datatype: "INT64",
    shape: [],
    contents: { int64_contents: [1000] },
  };
  const late = await load(
    address,
    "ModelInfer",
    ...["--insecure", "--total", "40", "--concurrency", "20", "--timeout", "50ms"],
    ...["--data", JSON.stringify({ model_name: "slow", inputs: [rounds] })],
  );
  t.deepEqual(late.statusCodeDistribution, { DeadlineExceeded: 40 });
});
