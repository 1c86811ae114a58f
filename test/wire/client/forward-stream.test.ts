import { once } from "node:events";
import type { ClientHttp2Stream, ServerHttp2Stream } from "node:http2";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import type { ForwardOptions, ForwardOutcome } from "../../../server/wire/client/forward-stream.ts";
import { forwardedRequestFields } from "../../../server/wire/client/forwarded-heads.ts";
import { deadlineWheel } from "../../../server/wire/timer-wheel.ts";
import {
  dataFrame,
  headersFrame,
  type RawFrame,
  rawFlag,
  rawType,
  resetFrame,
} from "../../support/raw-http2-frames.ts";
import { until } from "../../support/until.ts";
import { closed, openHttp2, request2 } from "../start-wire.ts";
import {
  deadPort,
  openChannel,
  startForwarder,
  startNodeHttp2,
  startRawServer,
} from "./start-peers.ts";

type OnStream = (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void;

/** A server of node:http2 behind a forwarder, and a client before it. */
async function through(t: ExecutionContext, onStream: OnStream, options: ForwardOptions = {}) {
  const outcomes: ForwardOutcome[] = [];
  // Node resets streams with ENHANCE_YOUR_CALM when more than 10 MB wait to be sent.
  const backend = await startNodeHttp2(t, onStream, { maxSessionMemory: 1000 });
  const channel = openChannel(t, backend.port);
  const port = await startForwarder(t, channel, {
    ...options,
    onEnd: (outcome) => outcomes.push(outcome),
  });
  const ended = async (count = 1): Promise<ForwardOutcome> => {
    await until(
      () => outcomes.length >= count,
      () => `${outcomes.length} of ${count} streams ended`,
    );
    return outcomes[count - 1]!;
  };
  return { session: openHttp2(t, port), channel, outcomes, ended, backend };
}

const grpcRequest = {
  ":method": "POST",
  ":path": "/test.Service/Method",
  "content-type": "application/grpc",
  te: "trailers",
};

/** Bytes that differ from place to place. */
function pattern(length: number, seed: number): Buffer {
  const bytes = Buffer.alloc(length);
  for (let index = 0; index < length; index++) bytes[index] = (index * 31 + seed) >> 3;
  return bytes;
}

/** Writes pieces one after the other, each when the one before was taken. */
async function send(
  stream: ClientHttp2Stream | ServerHttp2Stream,
  pieces: readonly Buffer[],
  before: Promise<unknown> = Promise.resolve(),
) {
  for (const piece of pieces) {
    if (!stream.write(piece)) await once(stream, "drain");
  }
  await before;
  stream.end();
}

const pieces = fc
  .array(
    fc.oneof(
      fc.integer({ min: 1, max: 100 }),
      fc.integer({ min: 16_000, max: 17_000 }),
      fc.integer({ min: 60_000, max: 400_000 }),
    ),
    { maxLength: 12 },
  )
  .map((lengths) => lengths.map((length, index) => pattern(length, index)));
const trailerValue = fc.stringMatching(/^[!-~]{1,40}$/);

test("what goes in comes out: both directions at once, in any pieces, with trailers", async (t) => {
  let answer: readonly Buffer[] = [];
  let answerTrailer = "";
  let received = Promise.withResolvers<{ body: Buffer; trailer: unknown }>();
  const { session, outcomes } = await through(t, (stream) => {
    stream.respond(
      { ":status": 200, "content-type": "application/grpc" },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () =>
      stream.sendTrailers({ "grpc-status": "0", "x-answer": answerTrailer }),
    );
    let trailer: unknown;
    stream.on("trailers", (fields) => {
      trailer = fields["x-request"];
    });
    const { resolve } = received;
    const request = stream.toArray();
    // An answer that is whole ends the call: nobody reads the rest of the request then.
    void send(stream, answer, request);
    void request.then((parts) => resolve({ body: Buffer.concat(parts), trailer }));
  });
  await fc.assert(
    fc.asyncProperty(
      pieces,
      pieces,
      trailerValue,
      trailerValue,
      async (up, down, upTrailer, downTrailer) => {
        answer = down;
        answerTrailer = downTrailer;
        received = Promise.withResolvers();
        const stream = session.request(grpcRequest, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "x-request": upTrailer }));
        let trailers: Record<string, unknown> = {};
        stream.on("trailers", (fields) => {
          trailers = fields;
        });
        const sent = send(stream, up);
        const body = Buffer.concat(await stream.toArray());
        await sent;
        const there = await received.promise;
        t.true(there.body.equals(Buffer.concat(up)));
        t.true(body.equals(Buffer.concat(down)));
        t.is(there.trailer, upTrailer);
        t.is(trailers["x-answer"], downTrailer);
        t.is(trailers["grpc-status"], "0");
      },
    ),
    { numRuns: 40 },
  );
  t.true(outcomes.length > 0 && outcomes.every(({ kind }) => kind === "answered"));
});

test("counts bytes, and tells status and grpc-status", async (t) => {
  const { session, ended } = await through(t, (stream) => {
    stream.respond({ ":status": 200 }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "5" }));
    stream.resume();
    stream.end(Buffer.alloc(30));
  });
  await request2(session, grpcRequest, Buffer.alloc(70));
  t.deepEqual(await ended(), {
    kind: "answered",
    status: 200,
    grpcStatus: 5,
    requestBytes: 70,
    responseBytes: 30,
    error: undefined,
  });
});

test("heads arrive as they were, again and again", async (t) => {
  const { session } = await through(t, (stream, headers) => {
    stream.respond({
      ":status": 201,
      "x-seen": `${headers[":method"]} ${headers[":path"]} ${headers[":authority"]} ${headers["x-a"]}`,
      "set-cookie": ["a=1", "b=2"],
    });
    stream.end("body");
  });
  for (let turn = 0; turn < 4; turn++) {
    const answer = await request2(session, {
      ":method": "PUT",
      ":path": "/a?b=c",
      ":authority": "some.where",
      "x-a": "v",
    });
    t.is(answer.status, 201);
    t.is(answer.headers["x-seen"], "PUT /a?b=c some.where v");
    t.deepEqual(answer.headers["set-cookie"], ["a=1", "b=2"]);
    t.is(answer.body.toString(), "body");
  }
});

test("heads can be rewritten", async (t) => {
  const { session } = await through(
    t,
    (stream, headers) => {
      stream.respond({ ":status": 200, "x-seen": `${headers[":path"]} ${headers["x-by"]}` });
      stream.end();
    },
    {
      rewriteHead: (head) => [
        ...forwardedRequestFields(head, "http").map(([name, value]): [string, string] =>
          name === ":path" ? [name, "/new"] : [name, value],
        ),
        ["x-by", "f"],
      ],
      rewriteResponseHead: ({ status, fields }) => [
        [":status", `${status}`],
        ["x-back", "b"],
        ...fields.map(({ name, value }): [string, string] => [name, value]),
      ],
    },
  );
  const answer = await request2(session, { ":path": "/old" });
  t.is(answer.headers["x-seen"], "/new f");
  t.is(answer.headers["x-back"], "b");
});

test("informational heads are passed on", async (t) => {
  const { session } = await through(t, (stream) => {
    stream.additionalHeaders({ ":status": 103, link: "</a>" });
    stream.respond({ ":status": 200 });
    stream.end();
  });
  const stream = session.request({ ":path": "/" });
  const early: unknown[] = [];
  stream.on("headers", (headers) => early.push(headers[":status"], headers.link));
  const [head] = await once(stream, "response");
  t.deepEqual(early, [103, "</a>"]);
  t.is(head[":status"], 200);
});

test("half a stream may end first: the answer comes after", async (t) => {
  const { session } = await through(t, (stream) => {
    const parts: Buffer[] = [];
    stream.on("data", (part: Buffer) => parts.push(part));
    stream.on("end", () => {
      stream.respond({ ":status": 200 });
      stream.end(Buffer.concat(parts));
    });
  });
  const answer = await request2(session, { ":method": "POST", ":path": "/" }, pattern(100_000, 1));
  t.true(answer.body.equals(pattern(100_000, 1)));
});

test("both sides talk in turn", async (t) => {
  const { session } = await through(t, (stream) => {
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  const stream = session.request({ ":method": "POST", ":path": "/" });
  for (const word of ["one", "two", "three"]) {
    stream.write(word);
    const [part] = await once(stream, "data");
    t.is(String(part), word);
  }
  stream.end();
  await closed(stream);
  t.is(stream.rstCode, 0);
});

test("an answer may come before the request has ended", async (t) => {
  const { session, ended, channel } = await through(t, (stream) => {
    stream.respond({ ":status": 413 });
    stream.end("enough");
  });
  const stream = session.request({ ":method": "POST", ":path": "/" });
  stream.on("error", () => {});
  stream.write(Buffer.alloc(1000));
  const [head] = await once(stream, "response");
  t.is(head[":status"], 413);
  t.is(Buffer.concat(await stream.toArray()).toString(), "enough");
  const more = setInterval(() => stream.write(Buffer.alloc(1000)), 1);
  t.teardown(() => clearInterval(more));
  t.like(await ended(), { kind: "answered", status: 413 });
  await until(
    () => channel.stats.streams === 0,
    () => "the server's stream is open",
  );
});

for (const code of [8, 5, 2]) {
  test(`a caller's reset with ${code} reaches the server`, async (t) => {
    const there = Promise.withResolvers<ServerHttp2Stream>();
    const { session, ended } = await through(t, (stream) => there.resolve(stream));
    const stream = session.request({ ":method": "POST", ":path": "/" });
    stream.on("error", () => {});
    const far = await there.promise;
    stream.close(code);
    await closed(far);
    t.is(far.rstCode, code === 2 ? 2 : 8);
    t.like(await ended(), { kind: "cancelled", status: undefined });
  });
}

test("a caller that vanishes is a cancel to the server", async (t) => {
  const there = Promise.withResolvers<ServerHttp2Stream>();
  const { session } = await through(t, (stream) => there.resolve(stream));
  const stream = session.request(grpcRequest);
  stream.on("error", () => {});
  const far = await there.promise;
  session.destroy();
  await closed(far);
  t.is(far.rstCode, 8);
});

for (const [given, before, amid] of [
  [8, 8, 8],
  [2, 2, 2],
  [11, 11, 11],
  [1, 2, 2],
  [0, 2, 2],
  [13, 2, 2],
] as const) {
  test(`a server's reset with ${given} reaches the caller as ${before}`, async (t) => {
    const server = await startRawServer(t);
    const channel = openChannel(t, server.port);
    const session = openHttp2(t, await startForwarder(t, channel));
    const silent = request2(session, { ":path": "/" });
    const peer = await server.next();
    const headers = ({ type }: RawFrame): boolean => type === rawType.headers;
    await peer.next(headers, "the first request");
    peer.write(resetFrame(1, given));
    t.is((await silent).rstCode, before);
    const begun = request2(session, { ":path": "/" });
    await peer.next(headers, "the second request");
    // :status 200
    peer.write(headersFrame(3, Buffer.from([0x88]), rawFlag.endHeaders));
    peer.write(dataFrame(3, Buffer.from("half")), resetFrame(3, given));
    const answer = await begun;
    t.is(answer.status, 200);
    t.is(answer.rstCode, amid);
  });
}

test("a stream that was answered to the end is not reset", async (t) => {
  // nghttp2, and with it Node, Apache and others, close connections for many resets (CVE-2023-44487).
  const server = await startRawServer(t);
  const channel = openChannel(t, server.port);
  const session = openHttp2(t, await startForwarder(t, channel));
  const isHeadOrReset = ({ type }: RawFrame): boolean =>
    type === rawType.headers || type === rawType.rstStream;
  const first = request2(session, { ":method": "POST", ":path": "/" }, Buffer.from("x"));
  const peer = await server.next();
  const types: number[] = [];
  let answer = first;
  for (const streamId of [1, 3, 5]) {
    types.push((await peer.next(isHeadOrReset, "a request")).type);
    const ends = ({ flags, type }: RawFrame): boolean =>
      type === rawType.data && (flags & rawFlag.endStream) !== 0;
    await peer.next(ends, "the end of the request");
    const trailers = Buffer.from([0x00, 1, 0x78, 1, 0x79]);
    peer.write(
      headersFrame(streamId, Buffer.from([0x88]), rawFlag.endHeaders),
      dataFrame(streamId, Buffer.from("whole")),
      headersFrame(streamId, trailers, rawFlag.endHeaders | rawFlag.endStream),
    );
    t.deepEqual((await answer).body.toString(), "whole");
    answer = request2(session, { ":method": "POST", ":path": "/" }, Buffer.from("x"));
  }
  types.push((await peer.next(isHeadOrReset, "the last request")).type);
  t.deepEqual(types, Array(4).fill(rawType.headers));
});

test("a stream that was refused once is sent again, with its content", async (t) => {
  let refused = 0;
  const { session, channel } = await through(t, (stream) => {
    if (refused++ === 0) {
      stream.close(7);
      return;
    }
    stream.respond({ ":status": 200 });
    stream.pipe(stream);
  });
  const answer = await request2(session, { ":method": "POST", ":path": "/" }, pattern(9_000, 3));
  t.is(answer.status, 200);
  t.true(answer.body.equals(pattern(9_000, 3)));
  t.is(channel.stats.retries, 1);
});

test("a stream that was refused twice is refused to the caller", async (t) => {
  const { session } = await through(t, (stream) => stream.close(7));
  t.is((await request2(session, { ":path": "/" })).rstCode, 7);
});

test("a server that cannot be reached: UNAVAILABLE or 503", async (t) => {
  const channel = openChannel(t, await deadPort());
  const session = openHttp2(t, await startForwarder(t, channel));
  const grpc = await request2(session, grpcRequest, Buffer.alloc(5));
  t.is(grpc.status, 200);
  t.is(grpc.headers["content-type"], "application/grpc");
  t.is(grpc.headers["grpc-status"], "14");
  t.regex(String(grpc.headers["grpc-message"]), /cannot reach 127.0.0.1:\d+: ECONNREFUSED/);
  const web = await request2(session, { ...grpcRequest, "content-type": "application/grpc-web" });
  t.is(web.headers["content-type"], "application/grpc-web");
  t.is(web.headers["grpc-status"], "14");
  const plain = await request2(session, { ":path": "/" });
  t.is(plain.status, 503);
  t.regex(plain.body.toString(), /cannot reach/);
});

test("a server that is lost: UNAVAILABLE or 502, also amid an answer", async (t) => {
  const { session, ended } = await through(t, (stream, headers) => {
    if (headers[":path"] === "/begun") {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write("half");
    }
    setImmediate(() => stream.session?.destroy());
  });
  const grpc = await request2(session, grpcRequest, Buffer.alloc(5));
  t.is(grpc.headers["grpc-status"], "14");
  t.is((await request2(session, { ":path": "/" })).status, 502);
  const begun = await request2(session, { ...grpcRequest, ":path": "/begun" });
  t.is(begun.status, 200);
  t.is(begun.trailers?.["grpc-status"], "14");
  t.is((await request2(session, { ":path": "/begun" })).rstCode, 2);
  t.is((await ended(4)).error?.kind, "lost");
});

test("the deadline of a call is kept", async (t) => {
  const codes: number[] = [];
  const { session } = await through(t, (stream, headers) => {
    stream.once("close", () => codes.push(stream.rstCode));
    if (headers[":path"] === "/begun") {
      stream.respond({ ":status": 200, "content-type": "application/grpc" });
      stream.write("half");
    }
  });
  const timed = { ...grpcRequest, "grpc-timeout": "80m" };
  const silent = await request2(session, timed, Buffer.alloc(5));
  t.is(silent.headers["grpc-status"], "4");
  const begun = await request2(session, { ...timed, ":path": "/begun" }, Buffer.alloc(5));
  t.is(begun.trailers?.["grpc-status"], "4");
  await until(
    () => codes.length === 2,
    () => `${codes.length} of 2 streams were closed at the server`,
  );
  t.deepEqual(codes, [8, 8]);
});

test("a caller that does not read holds the server back", async (t) => {
  const total = 64 * 1024 * 1024;
  let taken = 0;
  const { session } = await through(t, (stream) => {
    stream.respond({ ":status": 200 });
    const chunk = Buffer.alloc(64 * 1024);
    const go = (): void => {
      while (taken < total) {
        taken += chunk.length;
        if (taken === total) stream.end(chunk);
        else if (!stream.write(chunk)) break;
      }
    };
    stream.on("drain", go);
    go();
  });
  const stream = session.request({ ":path": "/" });
  await once(stream, "response");
  await settled(() => taken);
  t.true(taken < total / 2, `${taken} bytes were taken of a reader that takes none`);
  let read = 0;
  for await (const part of stream) read += (part as Buffer).length;
  t.is(read, total);
});

test("a server that does not read holds the caller back", async (t) => {
  const total = 64 * 1024 * 1024;
  const there = Promise.withResolvers<ServerHttp2Stream>();
  const { session } = await through(t, (stream) => there.resolve(stream));
  const stream = session.request({ ":method": "POST", ":path": "/" });
  let taken = 0;
  const chunk = Buffer.alloc(64 * 1024);
  const go = (): void => {
    while (taken < total) {
      taken += chunk.length;
      if (taken === total) stream.end(chunk);
      else if (!stream.write(chunk)) break;
    }
  };
  stream.on("drain", go);
  go();
  const far = await there.promise;
  await settled(() => taken);
  t.true(taken < total / 2, `${taken} bytes were taken for a reader that takes none`);
  let read = 0;
  for await (const part of far) read += (part as Buffer).length;
  t.is(read, total);
  far.respond({ ":status": 204 }, { endStream: true });
  const [head] = await once(stream, "response");
  t.is(head[":status"], 204);
});

test("a stream whose caller left gives back its part of the connections' windows", async (t) => {
  const { session, channel } = await through(t, (stream, headers) => {
    stream.respond({ ":status": 200 });
    if (headers[":path"] === "/flood") stream.end(Buffer.alloc(2 * 1024 * 1024));
    else stream.pipe(stream);
  });
  // More in all than the window of a connection, which is 16 MiB.
  for (let turn = 0; turn < 80; turn++) {
    const stream = session.request({ ":path": "/flood" });
    stream.on("error", () => {});
    await once(stream, "response");
    stream.close(8);
    await closed(stream);
  }
  const answer = await request2(session, { ":method": "POST", ":path": "/" }, pattern(300_000, 2));
  t.true(answer.body.equals(pattern(300_000, 2)));
  await until(
    () => channel.stats.streams === 0,
    () => `${channel.stats.streams} streams are open`,
  );
  t.is(channel.stats.connections, 1);
});

test("a call waits for a stream of the server", async (t) => {
  const server = await startRawServer(t, { settings: [[3, 0]] });
  const channel = openChannel(t, server.port, { maxConnections: 1 });
  const session = openHttp2(t, await startForwarder(t, channel));
  const answer = request2(session, grpcRequest, pattern(200_000, 4));
  const peer = await server.next();
  await until(
    () => channel.stats.queued === 1,
    () => "nothing waits",
  );
  // One stream, and windows for all that comes on it.
  const settings = Buffer.from([0, 3, 0, 0, 0, 1, 0, 4, 0x7f, 0xff, 0xff, 0xff]);
  peer.write(Buffer.concat([Buffer.from([0, 0, 12, 4, 0, 0, 0, 0, 0]), settings]));
  peer.write(Buffer.from([0, 0, 4, 8, 0, 0, 0, 0, 0, 0x70, 0, 0, 0]));
  let got = 0;
  for (let ends = false; !ends; ) {
    const frame = await peer.next(({ type }) => type === 0, "DATA");
    got += frame.payload.length;
    ends = (frame.flags & 1) !== 0;
  }
  t.is(got, 200_000);
  peer.write(Buffer.from([0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]));
  t.is((await answer).status, 200);
});

/** Waits until a count has not changed for a while. */
async function settled(count: () => number): Promise<void> {
  let last = -1;
  let same = 0;
  await until(
    () => {
      const now = count();
      same = now === last ? same + 1 : 0;
      last = now;
      return same > 60;
    },
    () => "it still moves",
  );
}

test("whatever both sides do, every stream ends, and windows and timers are given back", async (t) => {
  const { session, channel, outcomes } = await through(t, (stream, headers) => {
    const deed = String(headers["x-deed"]);
    if (deed === "hang") return;
    if (deed === "refuse") stream.close(7);
    else if (deed === "reset") stream.close(2);
    else if (deed === "early") {
      stream.respond({ ":status": 200 });
      stream.end(Buffer.alloc(100_000));
    } else if (deed === "cut") {
      stream.respond({ ":status": 200 });
      stream.write(Buffer.alloc(100_000));
      setImmediate(() => stream.close(8));
    } else {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0" }));
      stream.pipe(stream);
    }
  });
  let began = 0;
  const call = async (deed: string, size: number, leaveAfter: number): Promise<void> => {
    began++;
    const stream = session.request({
      ...grpcRequest,
      "x-deed": deed,
      "grpc-timeout": deed === "hang" ? "20m" : "60S",
    });
    stream.on("error", () => {});
    stream.resume();
    stream.end(Buffer.alloc(size));
    for (let turn = 0; turn < leaveAfter && !stream.closed; turn++) {
      await new Promise((resolve) => setImmediate(resolve));
    }
    if (leaveAfter > 0 && !stream.closed) stream.close(8);
    await closed(stream);
  };
  const deeds = fc.constantFrom("echo", "echo", "hang", "refuse", "reset", "early", "cut");
  const calls = fc.array(
    fc.tuple(deeds, fc.integer({ min: 0, max: 500_000 }), fc.integer({ min: 0, max: 6 })),
    { minLength: 1, maxLength: 24 },
  );
  await fc.assert(
    fc.asyncProperty(calls, async (batch) => {
      await Promise.all(batch.map((each) => call(...each)));
      await until(
        () => outcomes.length === began && channel.stats.streams === 0,
        () => `${outcomes.length} of ${began} ended, ${channel.stats.streams} streams are open`,
      );
      t.like(channel.stats, { queued: 0 });
    }),
    { numRuns: 25 },
  );
  t.is(outcomes.length, began);
  await until(
    () => deadlineWheel.armed === 0,
    () => `${deadlineWheel.armed} deadlines are armed`,
  );
  // Less than the 10 MB that node:http2 lets wait in one session.
  const whole = pattern(6_000_000, 5);
  const answer = await request2(session, { ...grpcRequest, "x-deed": "echo" }, whole);
  t.true(answer.body.equals(whole));
});
