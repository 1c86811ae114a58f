import { Code } from "@connectrpc/connect";
import test, { type ExecutionContext } from "ava";
import { WireCallError } from "../../../server/wire/client/wire-call-error.ts";
import type { WireChannel } from "../../../server/wire/client/wire-channel.ts";
import { resetFrame } from "../../support/raw-http2-frames.ts";
import { until } from "../../support/until.ts";
import { startWire } from "../start-wire.ts";
import {
  deadPort,
  openChannel,
  startRawServer,
  startSockets,
  VirtualClock,
} from "./start-peers.ts";

const unary = (channel: WireChannel, options = {}) =>
  channel.callUnary("/test.Service/Method", Buffer.from("m"), options);

async function unavailable(
  t: ExecutionContext,
  call: Promise<unknown>,
  message: RegExp,
): Promise<void> {
  const error = await t.throwsAsync(call, { instanceOf: WireCallError, message });
  t.is(error.code, Code.Unavailable);
  t.is(error.kind, "unavailable");
}

test("a server that is not there fails calls at once, and is asked again when its time has come", async (t) => {
  const clock = new VirtualClock();
  const channel = openChannel(t, await deadPort(), { clock, random: () => 0.5 });
  const refused = /cannot reach 127.0.0.1:\d+: ECONNREFUSED, .*start the server/;
  await unavailable(t, unary(channel), refused);
  for (const [turn, ms] of [1000, 1600, 2560, 4096].entries()) {
    t.is(channel.stats.failedConnects, turn + 1);
    clock.advance(ms - 1);
    await unavailable(t, unary(channel), /next attempt in 1 ms/);
    t.is(channel.stats.failedConnects, turn + 1);
    clock.advance(1);
    await unavailable(t, unary(channel), refused);
  }
});

test("a call that waits for the server gets it", async (t) => {
  const clock = new VirtualClock();
  const port = await deadPort();
  const channel = openChannel(t, port, { clock, random: () => 0.5 });
  const call = unary(channel, { waitForReady: true });
  for (const ms of [1000, 1600]) {
    await until(
      () => clock.pending.length === 1 && channel.stats.connecting === 0,
      () => `timers: ${clock.pending}`,
    );
    t.deepEqual(clock.pending, [ms]);
    clock.advance(ms);
  }
  await until(
    () => channel.stats.failedConnects === 3,
    () => `${channel.stats.failedConnects} attempts failed`,
  );
  await startWire(t, async () => ({ status: 404 }), { tcp: { host: "127.0.0.1", port } });
  clock.advance(2560);
  t.is((await call).status.code, Code.Unimplemented);
  t.deepEqual(clock.pending, []);
});

test("calls that wait for the server are forgotten when they are cancelled", async (t) => {
  const clock = new VirtualClock();
  const channel = openChannel(t, await deadPort(), { clock });
  const abort = new AbortController();
  const call = unary(channel, { waitForReady: true, signal: abort.signal });
  await until(
    () => channel.stats.failedConnects === 1,
    () => "no attempt failed",
  );
  t.is(clock.pending.length, 1);
  abort.abort();
  await t.throwsAsync(call, { message: /cancelled/ });
  t.deepEqual(clock.pending, []);
});

test("after a good connection the next attempt is made at once", async (t) => {
  const clock = new VirtualClock();
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port, { clock });
  for (let turn = 0; turn < 3; turn++) {
    const call = unary(channel);
    const peer = await server.next();
    await peer.next(({ type }) => type === 1, "a request");
    peer.destroy();
    await t.throwsAsync(call, { message: /was lost/ });
  }
  t.like(channel.stats, { reconnects: 2, failedConnects: 0 });
});

test("a server that closes each connection before a call is not asked in a loop", async (t) => {
  const clock = new VirtualClock();
  const server = await startRawServer(t, { settings: [[3, 0]] });
  const channel = openChannel(t, server.port, { clock, random: () => 0.5, maxConnections: 1 });
  const call = unary(channel);
  (await server.next()).destroy();
  await unavailable(t, call, /before it took a call \(next attempt in 1000 ms\)/);
  await unavailable(t, unary(channel), /next attempt in 1000 ms/);
  t.is(channel.stats.reconnects, 0);
});

test("a server that takes connections and says nothing is given up after the time to connect", async (t) => {
  const clock = new VirtualClock();
  let accepted = 0;
  const port = await startSockets(t, () => accepted++);
  const channel = openChannel(t, port, { clock });
  const call = unary(channel);
  await until(
    () => accepted === 1,
    () => "no connection came",
  );
  t.deepEqual(clock.pending, [20_000]);
  // The socket is open on both sides when its connection has taken it over.
  await until(
    () => channel.stats.connecting === 1,
    () => "nothing connects",
  );
  await new Promise((resolve) => setImmediate(resolve));
  clock.advance(20_000);
  await unavailable(t, call, /ETIMEDOUT, .* within 20000 ms/);
});

test("a failed attempt leaves calls alone that wait for a connection that works", async (t) => {
  const clock = new VirtualClock();
  const manners = { settings: [[3, 1]] as [number, number][], begins: true };
  const server = await startRawServer(t, manners);
  const channel = openChannel(t, server.port, { clock, maxConnections: 2 });
  const open = unary(channel);
  const peer = await server.next();
  await peer.next(({ type }) => type === 1, "a request");
  manners.begins = false;
  const waiting = unary(channel);
  (await server.next()).destroy();
  await until(
    () => channel.stats.connections === 1 && channel.stats.connecting === 0,
    () => "the second connection is there",
  );
  t.like(channel.stats, { queued: 1, streams: 1 });
  peer.write(resetFrame(1));
  await t.throwsAsync(open, { message: /reset the call with CANCEL/ });
  await peer.next(({ type, streamId }) => type === 1 && streamId === 3, "the second request");
  peer.write(resetFrame(3, 2));
  await t.throwsAsync(waiting, { message: /reset the call with INTERNAL_ERROR/ });
});
