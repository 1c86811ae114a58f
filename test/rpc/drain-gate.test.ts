import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import test from "ava";
import { createDrainGate } from "../../server/rpc/drain-gate.ts";
import { chunks, text } from "../wire/start-wire.ts";

function request(path: string, header: Record<string, string> = {}): UniversalServerRequest {
  return {
    httpVersion: "2.0",
    method: "POST",
    url: `http://localhost${path}`,
    header: new Headers(header),
    body: chunks(),
    signal: new AbortController().signal,
  };
}

test("a closed gate refuses calls in their protocol, and still answers probes", async (t) => {
  const gate = createDrainGate();
  const handler = gate.wrap(async () => ({ status: 200 }));
  t.is((await handler(request("/v2/models"))).status, 200);
  gate.close();
  t.is((await handler(request("/v2/models"))).status, 503);
  const rpc = await handler(request("/a.B/C", { "content-type": "application/grpc" }));
  t.is(rpc.header?.get("grpc-status"), "14");
  for (const path of [
    "/health/live",
    "/v2/health/ready",
    "/metrics",
    "/grpc.health.v1.Health/Check",
  ]) {
    t.is((await handler(request(path))).status, 200, path);
  }
});

test("the gate is idle when the bodies of all answers have ended, failed or been left", async (t) => {
  const gate = createDrainGate();
  const bodies: Record<string, () => AsyncIterable<Uint8Array>> = {
    "/read": () => text("x"),
    "/left": () => text("x"),
    "/fails": async function* () {
      yield* [];
      throw new Error("broken");
    },
  };
  const handler = gate.wrap(async ({ url }) => ({
    status: 200,
    body: bodies[new URL(url).pathname]!(),
  }));
  const [read, left, fails] = await Promise.all(
    Object.keys(bodies).map(async (path) => (await handler(request(path))).body!),
  );
  await t.throwsAsync(gate.wrap(() => Promise.reject(new Error("broken")))(request("/rejects")));
  gate.close();
  let idle = false;
  const ended = gate.idle().then(() => {
    idle = true;
  });
  await Array.fromAsync(read!);
  await t.throwsAsync(() => Array.fromAsync(fails!), { message: "broken" });
  t.false(idle);
  const iterator = left![Symbol.asyncIterator]();
  await iterator.return?.();
  await iterator.return?.();
  await ended;
  t.true(idle);
});
