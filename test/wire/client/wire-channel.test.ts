import { Code } from "@connectrpc/connect";
import test from "ava";
import { WireCallError } from "../../../server/wire/client/wire-call-error.ts";
import type { WireChannel } from "../../../server/wire/client/wire-channel.ts";
import {
  dataFrame,
  headersFrame,
  type RawFrame,
  rawFlag,
  rawFrame,
  rawSetting,
  rawType,
  resetFrame,
  settingsFrame,
  uint32,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import type { RawHttp2Peer } from "../../support/raw-http2-peer.ts";
import { until } from "../../support/until.ts";
import { openChannel, startRawServer, startSockets } from "./start-peers.ts";

const path = "/test.Service/Method";

/** A literal field that enters no table (RFC 7541, section 6.2.2). */
function literal(name: string, value: string): Buffer {
  const text = (part: string): Buffer => Buffer.from([part.length, ...Buffer.from(part)]);
  return Buffer.concat([Buffer.from([0]), text(name), text(value)]);
}

/** HEADERS, a message of one byte, and trailers with status OK. */
function okAnswer(streamId: number, byte = 0): Buffer {
  const head = Buffer.concat([Buffer.from([0x88]), literal("content-type", "application/grpc")]);
  return Buffer.concat([
    headersFrame(streamId, head, rawFlag.endHeaders),
    dataFrame(streamId, Buffer.from([0, 0, 0, 0, 1, byte])),
    headersFrame(streamId, literal("grpc-status", "0")),
  ]);
}

function goAwayFrame(lastStream: number, code = 0): Buffer {
  return rawFrame(rawType.goAway, 0, 0, Buffer.concat([uint32(lastStream), uint32(code)]));
}

/** Waits for the next request; gives its stream. */
async function request(peer: RawHttp2Peer): Promise<number> {
  const isHead = ({ type }: RawFrame): boolean => type === rawType.headers;
  return (await peer.next(isHead, "a request")).streamId;
}

const unary = (channel: WireChannel, options = {}) =>
  channel.callUnary(path, Buffer.from("m"), options);

const queued = (channel: WireChannel, count: number): Promise<void> =>
  until(
    () => channel.stats.queued === count,
    () => `${channel.stats.queued} calls wait, expected ${count}`,
  );

test("a second connection is opened when the first has no stream left, then calls wait in turn", async (t) => {
  const server = await startRawServer(t, { settings: [[rawSetting.maxConcurrentStreams, 1]] });
  const channel = openChannel(t, server.port, { maxConnections: 2 });
  const ends: number[] = [];
  const calls = [0, 1, 2, 3].map(async (index) => {
    await unary(channel);
    ends.push(index);
  });
  const first = await server.next();
  t.is(await request(first), 1);
  const second = await server.next();
  t.is(await request(second), 1);
  await queued(channel, 2);
  t.like(channel.stats, { connections: 2, streams: 2 });
  second.write(okAnswer(1));
  t.is(await request(second), 3);
  t.deepEqual(ends, [1]);
  second.write(okAnswer(3));
  t.is(await request(second), 5);
  t.deepEqual(ends, [1, 2]);
  second.write(okAnswer(5));
  first.write(okAnswer(1));
  await Promise.all(calls);
  t.like(channel.stats, { connections: 2, streams: 0, queued: 0 });
});

test("a server that allows no stream keeps calls waiting until it does", async (t) => {
  const server = await startRawServer(t, { settings: [[rawSetting.maxConcurrentStreams, 0]] });
  const channel = openChannel(t, server.port, { maxConnections: 1 });
  const call = unary(channel);
  const peer = await server.next();
  await peer.roundTrip();
  t.like(channel.stats, { queued: 1, streams: 0 });
  peer.write(settingsFrame([rawSetting.maxConcurrentStreams, 1]));
  const stream = await request(peer);
  peer.write(okAnswer(stream));
  t.is((await call).status.code, 0);
});

test("calls beyond those that may wait fail with RESOURCE_EXHAUSTED", async (t) => {
  const server = await startRawServer(t, { settings: [[rawSetting.maxConcurrentStreams, 0]] });
  const channel = openChannel(t, server.port, { maxConnections: 1, maxWaitingCalls: 2 });
  const calls = [unary(channel), unary(channel)];
  const error = await t.throwsAsync(unary(channel), {
    instanceOf: WireCallError,
    message: /2 calls wait for a stream to 127.0.0.1:\d+ already, 2 may; .*maxWaitingCalls/,
  });
  t.is(error.code, Code.ResourceExhausted);
  channel.destroy();
  for (const call of calls) await t.throwsAsync(call, { message: /was destroyed/ });
});

test("a call that waits can be cancelled, or fails at its deadline", async (t) => {
  const server = await startRawServer(t, { settings: [[rawSetting.maxConcurrentStreams, 0]] });
  const channel = openChannel(t, server.port, { maxConnections: 1 });
  const abort = new AbortController();
  const cancelled = unary(channel, { signal: abort.signal });
  const late = unary(channel, { deadlineMs: 50 });
  abort.abort();
  const error = await t.throwsAsync(cancelled, { instanceOf: WireCallError });
  t.is(error.code, Code.Canceled);
  const lateError = await t.throwsAsync(late, {
    instanceOf: WireCallError,
    message: /50 ms passed while it waited for a connection/,
  });
  t.is(lateError.code, Code.DeadlineExceeded);
  t.is(channel.stats.queued, 0);
});

test("streams above GOAWAY's last are sent again on a new connection, the others end on the old", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port);
  const calls = [unary(channel), unary(channel), unary(channel)];
  const old = await server.next();
  for (const stream of [1, 3, 5]) t.is(await request(old), stream);
  old.write(goAwayFrame(1));
  const fresh = await server.next();
  t.is(await request(fresh), 1);
  t.is(await request(fresh), 3);
  fresh.write(okAnswer(1, 3), okAnswer(3, 5));
  old.write(okAnswer(1, 1));
  const answers = await Promise.all(calls);
  t.deepEqual(
    answers.map(({ message }) => message?.[0]),
    [1, 3, 5],
  );
  await old.end();
  t.like(channel.stats, { retries: 2, reconnects: 1, connections: 1 });
});

test("a stream that was refused is sent again once, then fails with UNAVAILABLE", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port);
  const good = unary(channel);
  const peer = await server.next();
  peer.write(resetFrame(await request(peer), 7));
  peer.write(okAnswer(await request(peer)));
  t.is((await good).status.code, 0);
  const bad = unary(channel);
  peer.write(resetFrame(await request(peer), 7));
  peer.write(resetFrame(await request(peer), 7));
  const error = await t.throwsAsync(bad, {
    instanceOf: WireCallError,
    message: /did not process the call/,
  });
  t.is(error.code, Code.Unavailable);
  t.is(channel.stats.retries, 2);
});

test("a stream that the server may have processed is not sent again", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port);
  const reset = unary(channel);
  const peer = await server.next();
  peer.write(resetFrame(await request(peer), 2));
  const internal = await t.throwsAsync(reset, {
    instanceOf: WireCallError,
    message: /reset the call with INTERNAL_ERROR/,
  });
  t.is(internal.code, Code.Internal);
  const lost = unary(channel);
  await request(peer);
  peer.destroy();
  const unavailable = await t.throwsAsync(lost, {
    instanceOf: WireCallError,
    message: /was lost before the answer was whole/,
  });
  t.is(unavailable.code, Code.Unavailable);
  t.is(channel.stats.retries, 0);
});

test("a call that never left is sent again as often as it takes", async (t) => {
  const settings: [number, number][] = [[rawSetting.initialWindowSize, 0x7fff_ffff]];
  const server = await startRawServer(t, { settings });
  const channel = openChannel(t, server.port);
  const pinned = async (): Promise<[RawHttp2Peer, Promise<unknown>]> => {
    // It fills the kernel's buffers: what is written behind it stays here.
    const large = channel.callUnary(path, Buffer.alloc(64 * 1024 * 1024)).catch((error) => error);
    const peer = await server.next();
    await request(peer);
    peer.stopReading();
    peer.write(windowUpdateFrame(0, 0x7000_0000));
    return [peer, large];
  };
  const [first, large] = await pinned();
  // Until the socket takes nothing more.
  await until(
    () => first.socket.readableLength === 0 && channel.stats.streams === 1,
    () => "the large call is not open",
  );
  for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setTimeout(resolve, 2));
  const call = unary(channel);
  first.destroy();
  t.true((await large) instanceof WireCallError);
  const fresh = await server.next();
  fresh.write(okAnswer(await request(fresh)));
  t.is((await call).status.code, 0);
  t.is(channel.stats.retries, 1);
});

test("an answer that breaks the rules fails the call, and not the next", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port);
  const call = unary(channel);
  const peer = await server.next();
  const stream = await request(peer);
  peer.write(dataFrame(stream, Buffer.from("no head")));
  const error = await t.throwsAsync(call, {
    instanceOf: WireCallError,
    message: /was refused: DATA before HEADERS/,
  });
  t.is(error.code, Code.Internal);
  const next = unary(channel);
  peer.write(okAnswer(await request(peer)));
  t.is((await next).status.code, 0);
});

test("a server that sends more than the window is cut off", async (t) => {
  const server = await startRawServer(t);
  const errors: string[] = [];
  const channel = openChannel(t, server.port, { onError: ({ message }) => errors.push(message) });
  const body = Promise.withResolvers<WireCallError>();
  channel.call(
    { path, body: "none" },
    { onHead() {}, onData() {}, onTrailers() {}, onFailure: body.resolve },
  );
  const peer = await server.next();
  const stream = await request(peer);
  peer.write(headersFrame(stream, Buffer.from([0x88]), rawFlag.endHeaders));
  const chunk = dataFrame(stream, Buffer.alloc(16_384));
  await peer.flood(17, () => chunk);
  const error = await body.promise;
  t.is(error.kind, "protocol");
  t.is(await peer.reset(stream), "FLOW_CONTROL_ERROR");
  t.regex(errors[0] ?? "", /more DATA than the window of the stream/);
});

test("a peer that does not speak HTTP/2 is named", async (t) => {
  const port = await startSockets(t, (socket) => {
    socket.end("HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
  });
  const error = await t.throwsAsync(unary(openChannel(t, port)), { instanceOf: WireCallError });
  t.is(error.code, Code.Unavailable);
  t.regex(error.message, /^cannot reach 127.0.0.1:\d+: .*speaks HTTP\/2/);
});

test("a silent peer that does not answer PING is given up", async (t) => {
  const server = await startRawServer(t, { answersPing: false });
  const channel = openChannel(t, server.port, {
    limits: { keepAliveIntervalMs: 60, keepAliveTimeoutMs: 60 },
  });
  const call = unary(channel);
  const peer = await server.next();
  await request(peer);
  const error = await t.throwsAsync(call, { instanceOf: WireCallError });
  t.is(error.code, Code.Unavailable);
  t.true(peer.count(rawType.ping) > 0);
});

test("a silent peer that answers PING is not", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port, {
    limits: { keepAliveIntervalMs: 50, keepAliveTimeoutMs: 5_000 },
  });
  const call = unary(channel);
  const peer = await server.next();
  const stream = await request(peer);
  await until(
    () => peer.count(rawType.ping) >= 3,
    () => `${peer.count(rawType.ping)} PINGs came`,
  );
  peer.write(okAnswer(stream));
  t.is((await call).status.code, 0);
});

test("an idle connection is closed, and opened again by the next call", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port, { limits: { idleTimeoutMs: 60 } });
  const first = unary(channel);
  const peer = await server.next();
  peer.write(okAnswer(await request(peer)));
  await first;
  t.is(await peer.goAway(), "NO_ERROR");
  await peer.end();
  await until(
    () => channel.stats.connections === 0,
    () => "the connection is open",
  );
  const second = unary(channel);
  const again = await server.next();
  again.write(okAnswer(await request(again)));
  t.is((await second).status.code, 0);
  t.is(channel.stats.reconnects, 1);
});

test("closing lets calls end, also those that wait, and takes no more", async (t) => {
  const server = await startRawServer(t, { settings: [[rawSetting.maxConcurrentStreams, 1]] });
  const channel = openChannel(t, server.port, { maxConnections: 1 });
  const calls = [unary(channel), unary(channel)];
  const peer = await server.next();
  const stream = await request(peer);
  await queued(channel, 1);
  const end = channel.close();
  const refused = await t.throwsAsync(unary(channel), {
    instanceOf: WireCallError,
    message: /is closed and takes no more calls/,
  });
  t.is(refused.code, Code.Unavailable);
  peer.write(okAnswer(stream));
  peer.write(okAnswer(await request(peer)));
  for (const { status } of await Promise.all(calls)) t.is(status.code, 0);
  t.is(await peer.goAway(), "NO_ERROR");
  await end;
  t.like(channel.stats, { connections: 0, connecting: 0, streams: 0 });
});

test("destroying fails calls that wait and calls that are open", async (t) => {
  const server = await startRawServer(t, { settings: [[rawSetting.maxConcurrentStreams, 1]] });
  const channel = openChannel(t, server.port, { maxConnections: 1 });
  const calls = [unary(channel), unary(channel)];
  const peer = await server.next();
  await request(peer);
  await queued(channel, 1);
  channel.destroy();
  for (const call of calls) {
    const error = await t.throwsAsync(call, { instanceOf: WireCallError });
    t.is(error.code, Code.Canceled);
  }
  await peer.end();
  await channel.close();
  t.is(channel.stats.connections, 0);
});

test("settings that are no counts are refused", (t) => {
  t.throws(() => openChannel(t, 1, { maxConnections: 0 }), { message: /maxConnections is 0/ });
  t.throws(() => openChannel(t, 1, { maxWaitingCalls: -1 }), { message: /maxWaitingCalls is -1/ });
});
