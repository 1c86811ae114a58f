import { Code } from "@connectrpc/connect";
import test from "ava";
import type { WireCall, WireCallReceiver } from "../../../server/wire/client/wire-call.ts";
import { WireCallError } from "../../../server/wire/client/wire-call-error.ts";
import {
  dataFrame,
  headersFrame,
  type RawFrame,
  rawFlag,
  rawSetting,
  rawType,
  resetFrame,
  settingsFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import type { RawHttp2Peer } from "../../support/raw-http2-peer.ts";
import { until } from "../../support/until.ts";
import { openChannel, startNodeHttp2, startRawServer } from "./start-peers.ts";

const wide: [number, number][] = [[rawSetting.initialWindowSize, 0x7fff_ffff]];
const status200 = Buffer.from([0x88]);

/** Keeps what a call tells. */
class Log implements WireCallReceiver {
  readonly heads: number[] = [];
  readonly data: Buffer[] = [];
  writable = 0;
  readonly ended = Promise.withResolvers<WireCallError | "answered">();

  onHead({ status }: { readonly status: number }, endStream: boolean): void {
    this.heads.push(status);
    if (endStream) this.ended.resolve("answered");
  }

  onData(bytes: Buffer, endStream: boolean): void {
    this.data.push(bytes);
    if (endStream) this.ended.resolve("answered");
  }

  onTrailers(): void {
    this.ended.resolve("answered");
  }

  onWritable(): void {
    this.writable++;
  }

  onFailure(error: WireCallError): void {
    this.ended.resolve(error);
  }
}

async function contentOf(peer: RawHttp2Peer, stream: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const frame = await peer.next(
      ({ type, streamId }) => type === 0 && streamId === stream,
      "DATA",
    );
    parts.push(frame.payload);
    if ((frame.flags & rawFlag.endStream) !== 0) return Buffer.concat(parts);
  }
}

const isHead = ({ type }: RawFrame): boolean => type === rawType.headers;

test("what is written before there is a stream is sent when there is one", async (t) => {
  const server = await startRawServer(t, { settings: [[rawSetting.maxConcurrentStreams, 0]] });
  const channel = openChannel(t, server.port, { maxConnections: 1 });
  const log = new Log();
  const call = channel.call({ path: "/" }, log);
  t.true(call.write(Buffer.from("one ")));
  t.true(call.write(Buffer.from("two ")));
  t.false(call.write(Buffer.alloc(65_536, "x")));
  call.end([["x-trailer", "t"]]);
  const peer = await server.next();
  peer.write(
    settingsFrame([rawSetting.maxConcurrentStreams, 1], ...wide),
    windowUpdateFrame(0, 1e6),
  );
  await peer.next(isHead, "the head");
  let content = "";
  while (content.length < 65_544) {
    content += (await peer.next(({ type }) => type === 0, "DATA")).payload.toString();
  }
  t.is(content, `one two ${"x".repeat(65_536)}`);
  t.true(((await peer.next(isHead, "the trailers")).flags & rawFlag.endStream) !== 0);
  t.is(log.writable, 1);
});

test("a request that ends before there is a stream, without content, is one frame", async (t) => {
  const server = await startRawServer(t);
  const call = openChannel(t, server.port).call({ path: "/" }, new Log());
  call.end();
  const peer = await server.next();
  const { flags } = await peer.next(isHead, "the head");
  t.is(flags & rawFlag.endStream, rawFlag.endStream);
});

test("a body that was written so far is sent again with a stream that was refused", async (t) => {
  const server = await startRawServer(t, { settings: wide });
  const channel = openChannel(t, server.port);
  const log = new Log();
  const call = channel.call({ path: "/" }, log);
  call.write(Buffer.from("a"));
  const peer = await server.next();
  await peer.next(({ type }) => type === 0, "the first piece");
  peer.write(resetFrame(1, 7));
  const { streamId } = await peer.next(
    ({ type, streamId }) => type === 1 && streamId === 3,
    "again",
  );
  call.write(Buffer.from("b"));
  call.end();
  t.is((await contentOf(peer, streamId)).toString(), "ab");
  peer.write(headersFrame(streamId, status200));
  t.is(await log.ended.promise, "answered");
  t.deepEqual(log.heads, [200]);
});

for (const [name, replayBytes, begun] of [
  ["larger than is kept", 4, false],
  ["whose answer has begun", 1000, true],
] as const) {
  test(`a request ${name} is not sent again`, async (t) => {
    const server = await startRawServer(t);
    const channel = openChannel(t, server.port, { replayBytes });
    const log = new Log();
    const call: WireCall = channel.call({ path: "/" }, log);
    const peer = await server.next();
    await peer.next(isHead, "the head");
    call.write(Buffer.from("12345"));
    await peer.next(({ type }) => type === 0, "the content");
    if (begun) peer.write(headersFrame(1, status200, rawFlag.endHeaders));
    peer.write(resetFrame(1, 7));
    const error = await log.ended.promise;
    t.true(error instanceof WireCallError);
    t.like(error, { kind: "reset", code: Code.Unavailable, http2Code: 7 });
    t.is(channel.stats.retries, 0);
  });
}

test("writing waits for the server's window", async (t) => {
  const server = await startRawServer(t);
  const log = new Log();
  const channel = openChannel(t, server.port);
  const call = channel.call({ path: "/" }, log);
  const peer = await server.next();
  await peer.next(isHead, "the head");
  let written = 0;
  const piece = Buffer.alloc(50_000);
  while (call.write(piece)) written += piece.length;
  t.true(written < 1_000_000);
  t.is(log.writable, 0);
  peer.write(windowUpdateFrame(0, 10_000_000), windowUpdateFrame(1, 10_000_000));
  await until(
    () => log.writable === 1,
    () => "the call is not writable",
  );
});

test("reading opens the server's window as it is consumed", async (t) => {
  const { port } = await startNodeHttp2(t, (stream) => {
    stream.respond({ ":status": 200 });
    stream.end(Buffer.alloc(3_000_000));
  });
  const channel = openChannel(t, port);
  let held = 0;
  let total = 0;
  const ended = Promise.withResolvers<void>();
  const call = channel.call(
    { path: "/", body: "none" },
    {
      onHead() {},
      onData(bytes, endStream) {
        held += bytes.length;
        total += bytes.length;
        if (endStream) ended.resolve();
      },
      onTrailers() {},
      onFailure: (error) => ended.reject(error),
    },
  );
  await until(
    () => held >= 262_144,
    () => `${held} bytes came`,
  );
  t.true(held < 3_000_000);
  const feed = setInterval(() => {
    call.consume(held);
    held = 0;
  }, 1);
  t.teardown(() => clearInterval(feed));
  await ended.promise;
  t.is(total, 3_000_000);
});

test("a deadline that has passed sends nothing", async (t) => {
  const channel = openChannel(t, 1);
  const log = new Log();
  const call = channel.call({ path: "/", body: "none", deadlineMs: 0 }, log);
  t.true(call.over);
  const error = await log.ended.promise;
  t.true(error instanceof WireCallError);
  t.like(error, { kind: "deadline", code: Code.DeadlineExceeded });
  t.is(channel.stats.connecting, 0);
});

test("a call that its owner cancelled tells nothing more", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port);
  const log = new Log();
  const call = channel.call({ path: "/", body: "none" }, log);
  const peer = await server.next();
  await peer.next(isHead, "the head");
  call.cancel();
  t.is(await peer.reset(1), "CANCEL");
  // What the server sent before it knew is taken in for the connection's window.
  peer.write(headersFrame(1, status200, rawFlag.endHeaders), dataFrame(1, Buffer.alloc(10)));
  await peer.roundTrip();
  t.deepEqual([log.heads, log.data], [[], []]);
  t.is(channel.stats.streams, 0);
  t.is(channel.stats.connections, 1);
});

test("an answer that is whole before the request ends the call of a unary message", async (t) => {
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port);
  // More than the windows: the rest of it waits.
  const call = channel.callUnary("/a/B", Buffer.alloc(300_000));
  const peer = await server.next();
  await peer.next(isHead, "the head");
  const text = (part: string): number[] => [part.length, ...Buffer.from(part)];
  const head = Buffer.from([0x88, 0, ...text("grpc-status"), ...text("8")]);
  peer.write(headersFrame(1, head));
  t.is((await call).status.code, Code.ResourceExhausted);
  t.is(await peer.reset(1), "NO_ERROR");
  t.is(channel.stats.streams, 0);
});
