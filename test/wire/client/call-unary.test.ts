import { Code } from "@connectrpc/connect";
import test from "ava";
import { WireCallError } from "../../../server/wire/client/wire-call-error.ts";
import type { FastUnaryHandler } from "../../../server/wire/grpc/fast-unary.ts";
import { fieldValue } from "../../../server/wire/http2/message-head.ts";
import { startWire } from "../start-wire.ts";
import { openChannel, startNodeHttp2 } from "./start-peers.ts";

const path = "/test.Service/Method";
const notFound = async () => ({ status: 404 });

/** Our own server with one fast method. */
function fast(handler: FastUnaryHandler) {
  return {
    fast: {
      methods: new Map([[path, handler]]),
      maxMessageBytes: 64 * 1024 * 1024,
      maxTimeoutMs: 3_600_000,
      toStatus: (thrown: unknown): [string, string][] => [
        ["grpc-status", "3"],
        ["grpc-message", encodeURIComponent(String(thrown))],
      ],
    },
  };
}

test("a unary call gives message, head, trailers and status", async (t) => {
  const { port } = await startWire(
    t,
    notFound,
    fast((message, call) => {
      call.setHeader("x-head", call.requestHeader.get("x-given") ?? "");
      call.setTrailer("x-trailer", "t");
      return [Buffer.from("re:"), message];
    }),
  );
  const channel = openChannel(t, port);
  const answer = await channel.callUnary(path, Buffer.from("ping"), {
    fields: [["x-given", "v"]],
  });
  t.is(answer.message?.toString(), "re:ping");
  t.deepEqual(answer.status, { code: 0, message: "" });
  t.is(answer.head.get("x-head"), "v");
  t.is(fieldValue(answer.trailers, "x-trailer"), "t");
  t.like(channel.stats, { connections: 1, streams: 0, queued: 0, reconnects: 0, retries: 0 });
});

test("messages of every size come back whole, in one piece or several", async (t) => {
  const { port } = await startWire(
    t,
    notFound,
    fast((message) => Buffer.from(message)),
  );
  const channel = openChannel(t, port);
  for (const size of [0, 1, 5, 16_379, 16_384, 65_536, 1_000_003, 20_000_000]) {
    const bytes = Buffer.alloc(size);
    for (let index = 0; index < size; index += 97) bytes[index] = index / 97;
    const cut = Math.floor(size / 3);
    const parts = [bytes.subarray(0, cut), bytes.subarray(cut)];
    t.true((await channel.callUnary(path, bytes)).message?.equals(bytes));
    t.true((await channel.callUnary(path, parts)).message?.equals(bytes));
  }
});

test("calls share a connection", async (t) => {
  const { port, wire } = await startWire(
    t,
    notFound,
    fast((message) => Buffer.from(message)),
  );
  const channel = openChannel(t, port);
  const answers = await Promise.all(
    Array.from({ length: 90 }, (_, index) => channel.callUnary(path, Buffer.from(`${index}`))),
  );
  t.deepEqual(
    answers.map(({ message }) => message?.toString()),
    Array.from({ length: 90 }, (_, index) => `${index}`),
  );
  t.is(wire.stats.openConnections, 1);
});

test("a status of the server is an answer", async (t) => {
  const { port } = await startWire(
    t,
    notFound,
    fast(() => {
      throw "käse %";
    }),
  );
  const answer = await openChannel(t, port).callUnary(path, Buffer.alloc(0));
  t.deepEqual(answer.status, { code: Code.InvalidArgument, message: "käse %" });
  t.is(answer.message, undefined);
});

test("an answer that is not gRPC is told as such", async (t) => {
  const { port } = await startWire(t, notFound);
  const { status } = await openChannel(t, port).callUnary("/nothing", Buffer.alloc(0));
  t.is(status.code, Code.Unimplemented);
  t.regex(status.message, /HTTP status 404.*expected one of gRPC/);
});

test("the deadline is sent, and ends the call", async (t) => {
  const seen = Promise.withResolvers<string | null>();
  const aborted = Promise.withResolvers<string | undefined>();
  const { port } = await startWire(
    t,
    notFound,
    fast((_, call) => {
      seen.resolve(call.requestHeader.get("grpc-timeout"));
      call.onAbort(() => aborted.resolve(call.aborted));
      return new Promise(() => {});
    }),
  );
  const channel = openChannel(t, port);
  // Time that connecting takes is none of the server's.
  await channel.callUnary("/none", Buffer.alloc(0));
  const error = await t.throwsAsync(
    channel.callUnary(path, Buffer.alloc(0), { deadlineMs: 500 }).then(({ status }) => {
      throw new Error(`status ${status.code}`);
    }),
  );
  // Whoever looks at the clock first says so: both say DEADLINE_EXCEEDED.
  t.regex(error.message, /deadline of 500 ms passed|status 4/);
  t.regex((await seen.promise) ?? "", /^[1-9]\d{0,5}u$/);
  t.truthy(await aborted.promise);
  t.is(channel.stats.streams, 0);
});

test("a server that never answers is given up at the deadline with CANCEL", async (t) => {
  const code = Promise.withResolvers<number>();
  const { port } = await startNodeHttp2(t, (stream) => {
    stream.once("close", () => code.resolve(stream.rstCode));
  });
  const error = await t.throwsAsync(
    openChannel(t, port).callUnary(path, Buffer.alloc(3), { deadlineMs: 500 }),
    {
      instanceOf: WireCallError,
      message: /deadline of 500 ms passed before 127.0.0.1:\d+ answered/,
    },
  );
  t.is(error.code, Code.DeadlineExceeded);
  t.is(await code.promise, 8);
});

test("a signal cancels the call with CANCEL, before and after it began", async (t) => {
  const began = Promise.withResolvers<void>();
  const code = Promise.withResolvers<number>();
  const { port } = await startNodeHttp2(t, (stream) => {
    stream.once("close", () => code.resolve(stream.rstCode));
    began.resolve();
  });
  const channel = openChannel(t, port);
  const abort = new AbortController();
  const call = channel.callUnary(path, Buffer.alloc(3), { signal: abort.signal });
  await began.promise;
  abort.abort(new Error("no more"));
  const error = await t.throwsAsync(call, { instanceOf: WireCallError, message: /no more/ });
  t.is(error.code, Code.Canceled);
  t.is(await code.promise, 8);
  const late = channel.callUnary(path, Buffer.alloc(3), { signal: abort.signal });
  await t.throwsAsync(late, { instanceOf: WireCallError, message: /before it began/ });
});

for (const [name, content, problem] of [
  ["is larger than allowed", Buffer.from([0, 0, 0, 0, 11, ...Buffer.alloc(11)]), /has 11 bytes/],
  ["is compressed", Buffer.from([1, 0, 0, 0, 1, 7]), /compressed/],
  ["is cut", Buffer.from([0, 0, 0, 0, 9, 7]), /after 1 of 9 bytes/],
  ["comes twice", Buffer.from([0, 0, 0, 0, 1, 7, 0, 0, 0, 0, 1, 7]), /more than one message/],
  ["is missing", Buffer.alloc(0), /status OK and no message/],
] as const) {
  test(`an answer whose message ${name} fails the call`, async (t) => {
    const { port } = await startNodeHttp2(t, (stream) => {
      stream.respond(
        { ":status": 200, "content-type": "application/grpc" },
        { waitForTrailers: true },
      );
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.end(content);
    });
    const channel = openChannel(t, port);
    await t.throwsAsync(channel.callUnary(path, Buffer.alloc(3), { maxMessageBytes: 10 }), {
      instanceOf: WireCallError,
      message: problem,
    });
    t.is(channel.stats.streams, 0);
  });
}
