import { once } from "node:events";
import test from "ava";
import { openHttp2, request2, startWire } from "./start-wire.ts";

const get = { ":method": "GET", ":path": "/" };

test("connections with the fewest streams are told to go; calls on their way are answered, the others stay", async (t) => {
  const release = Promise.withResolvers<void>();
  const { port, wire } = await startWire(t, async ({ url }) => {
    if (url.endsWith("/wait")) await release.promise;
    return { status: 204 };
  });
  const busy = openHttp2(t, port);
  const idle = openHttp2(t, port);
  const waiting = request2(busy, { ...get, ":path": "/wait" });
  t.is(Number((await request2(idle, get)).headers[":status"]), 204);
  while (wire.stats.openStreams === 0) await new Promise(setImmediate);
  const goodbye = once(idle, "goaway");
  const left = wire.shed(1);
  // The peer has not read it yet.
  const late = request2(idle, get);
  const [code] = await goodbye;
  t.is(code, 0);
  t.is(Number((await late).headers[":status"]), 204);
  await left;
  await once(idle, "close");
  t.is(Number((await request2(busy, get)).headers[":status"]), 204);
  t.is(wire.stats.openConnections, 1);
  const all = wire.shed(Number.POSITIVE_INFINITY);
  await all;
  release.resolve();
  t.is(Number((await waiting).headers[":status"]), 204);
  await once(busy, "close");
  await wire.shed(5);
  while (wire.stats.openConnections > 0) await new Promise(setImmediate);
});
