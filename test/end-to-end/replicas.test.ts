import { fileURLToPath } from "node:url";
import test from "ava";
import { startServer } from "../support/command.ts";
import { fp32Request, grpcJsClient } from "../support/grpc-js-client.ts";
import { until } from "../support/until.ts";

const models = fileURLToPath(new URL("../fixtures/models/scalar", import.meta.url));
const service = "inference.GRPCInferenceService";
const scalar = fp32Request("scalar", "x", [], Float32Array.of(2));

test("replicas go to zero when nothing is asked, a call brings one back and is answered", async (t) => {
  t.timeout(120_000);
  const server = await startServer(t, [
    models,
    ...["--replicas", "0..2", "--replica-window", "6s", "--replica-idle-time", "1s"],
    ...["--drain-delay", "0s"],
  ]);
  const changes = (): unknown[] =>
    server
      .stderr()
      .split("\n")
      .filter((line) => line.includes("number of replicas changes") && line.endsWith("}"))
      .map((line) => {
        const { before, replicas } = JSON.parse(line);
        return [before, replicas];
      });
  const client = grpcJsClient(server.address, service);
  t.teardown(() => client.close());
  const infer = async () => {
    const { raw_output_contents: contents } = await client.call("ModelInfer", scalar, {
      deadlineMs: 60_000,
    });
    return (contents as Buffer[])[0]!.readFloatLE(0);
  };
  const expected = await infer();
  // Window, idle time and decisions take ten seconds by themselves.
  await until(() => changes().length === 1, server.stderr, 60_000);
  t.deepEqual(changes(), [[1, 0]]);
  // The connection is told to go, and a call that comes makes a new one, which waits for a replica.
  t.is(await infer(), expected);
  t.deepEqual(changes(), [
    [1, 0],
    [0, 1],
  ]);
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  t.regex(metrics, /tensorwire_workers_wanted 1\n/);
  t.regex(metrics, /tensorwire_replica_decisions_total\{direction="up"\} 1\n/);
  server.process.kill("SIGTERM");
  t.is(await server.ended, 0);
});
