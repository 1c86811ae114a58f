import type { Socket } from "node:net";
import { Writable } from "node:stream";
import test from "ava";
import fc from "fast-check";
import type { Http2Connection } from "../../../server/wire/http2/http2-connection.ts";
import { Http2Stream } from "../../../server/wire/http2/http2-stream.ts";
import { OutputBuffer } from "../../../server/wire/http2/output-buffer.ts";
import { SendScheduler } from "../../../server/wire/http2/send-scheduler.ts";
import { rawFlag, rawHeadBytes, rawType } from "../../support/raw-http2-frames.ts";

interface Sent {
  readonly type: number;
  readonly streamId: number;
  readonly end: boolean;
  readonly payload: Buffer;
}

/** A scheduler whose socket takes everything at once, and the frames that it wrote. */
class Bench {
  readonly ended: number[] = [];
  readonly #bytes: Buffer[] = [];
  readonly #output: OutputBuffer;
  readonly scheduler: SendScheduler;

  constructor() {
    const socket = new Writable({
      write: (chunk: Buffer, _, done) => {
        this.#bytes.push(Buffer.from(chunk));
        done();
      },
    });
    this.#output = new OutputBuffer(socket as unknown as Socket, () => {});
    this.scheduler = new SendScheduler(this.#output, {
      onLocalEnd: (stream) => {
        stream.localEnded = true;
        this.ended.push(stream.id);
      },
      onDataSent: () => {},
    });
  }

  /** A stream that sends through this scheduler. */
  stream(id: number, sendWindow = 65_535): Http2Stream {
    const connection = {
      sendData: (stream: Http2Stream, bytes: Uint8Array) => this.scheduler.data(stream, bytes),
      sendMessage: (stream: Http2Stream, message: Uint8Array) =>
        this.scheduler.message(stream, message),
      sendEnd: (stream: Http2Stream) => this.scheduler.end(stream),
    } as unknown as Http2Connection;
    const receiver = { onData() {}, onTrailers() {}, onEnd() {} };
    return new Http2Stream(connection, id, receiver, 65_535, sendWindow);
  }

  /** Frames so far. */
  get frames(): Sent[] {
    this.#output.flush();
    const bytes = Buffer.concat(this.#bytes);
    const frames: Sent[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = bytes.readUIntBE(at, 3);
      frames.push({
        type: bytes[at + 3]!,
        streamId: bytes.readUInt32BE(at + 5),
        end: (bytes[at + 4]! & rawFlag.endStream) !== 0,
        payload: bytes.subarray(at + rawHeadBytes, at + rawHeadBytes + length),
      });
      at += rawHeadBytes + length;
    }
    return frames;
  }

  contentOf(id: number): Buffer {
    return Buffer.concat(
      this.frames.filter((f) => f.streamId === id && f.type === 0).map((f) => f.payload),
    );
  }
}

test("streams that all have much to send take turns, a frame each", (t) => {
  const bench = new Bench();
  const streams = [1, 3, 5].map((id) => bench.stream(id, 1_000_000));
  // Nothing may leave yet: the window of the connection is used up by another stream.
  const first = bench.stream(7, 1_000_000);
  first.write(Buffer.alloc(65_535));
  for (const stream of streams) stream.write(Buffer.alloc(40_000, stream.id), true);
  bench.scheduler.openConnection(120_000);
  const order = bench.frames.filter(({ streamId }) => streamId !== 7).map((f) => f.streamId);
  t.deepEqual(order, [1, 3, 5, 1, 3, 5, 1, 3, 5]);
  t.deepEqual(bench.ended, [1, 3, 5]);
});

test("frames are no longer than the peer allows", (t) => {
  const bench = new Bench();
  bench.stream(1).write(Buffer.alloc(40_000));
  t.deepEqual(
    bench.frames.map(({ payload }) => payload.length),
    [16_384, 16_384, 7_232],
  );
  const larger = new Bench();
  larger.scheduler.maxFrameBytes = 30_000;
  larger.stream(1).write(Buffer.alloc(40_000));
  t.deepEqual(
    larger.frames.map(({ payload }) => payload.length),
    [30_000, 10_000],
  );
});

test("the end goes with the last frame; with trailers, behind it", (t) => {
  const bench = new Bench();
  bench.stream(1).write(Buffer.from("a"), true);
  const second = bench.stream(3);
  second.write(Buffer.from("b"));
  second.end();
  const third = bench.stream(5);
  third.write(Buffer.from("c"));
  third.end(undefined, [["grpc-status", "0"]]);
  const fourth = bench.stream(7);
  fourth.write(new Uint8Array(0), true);
  t.deepEqual(
    bench.frames.map(({ type, streamId, end, payload }) => [
      type,
      streamId,
      end,
      payload.length > 0,
    ]),
    [
      [rawType.data, 1, true, true],
      [rawType.data, 3, false, true],
      [rawType.data, 3, true, false],
      [rawType.data, 5, false, true],
      [rawType.headers, 5, true, true],
      [rawType.data, 7, true, false],
    ],
  );
});

test("a gRPC message has its prefix, whether it leaves at once or in parts", (t) => {
  for (const window of [65_535, 7]) {
    const bench = new Bench();
    const stream = bench.stream(1, window);
    stream.writeMessage(Buffer.from("hello"));
    stream.writeMessage([Buffer.from("wo"), new Uint8Array(0), Buffer.from("rld")]);
    bench.scheduler.openStream(stream, 100);
    t.is(
      bench.contentOf(1).toString("hex"),
      "0000000005" +
        Buffer.from("hello").toString("hex") +
        "0000000005" +
        Buffer.from("world").toString("hex"),
    );
  }
});

test("a window that SETTINGS made negative must be above 0 before anything leaves (section 6.9.2)", (t) => {
  const bench = new Bench();
  const stream = bench.stream(1, -100);
  stream.write(Buffer.from("abc"), true);
  t.is(bench.frames.length, 0);
  bench.scheduler.openStream(stream, 100);
  t.is(bench.frames.length, 0);
  bench.scheduler.openStream(stream, 2);
  t.is(bench.contentOf(1).toString(), "ab");
  bench.scheduler.openStream(stream, 5);
  t.is(bench.contentOf(1).toString(), "abc");
  t.deepEqual(bench.ended, [1]);
});

test("a window beyond 2^31-1 is refused and not opened", (t) => {
  const bench = new Bench();
  const stream = bench.stream(1);
  t.false(bench.scheduler.openStream(stream, 0x7fff_ffff));
  t.is(stream.sendWindow, 65_535);
  t.true(bench.scheduler.openStream(stream, 0x7fff_ffff - 65_535));
  t.false(bench.scheduler.openConnection(0x7fff_ffff));
  t.true(bench.scheduler.openConnection(0x7fff_ffff - 65_535));
});

test("an owner that was told to wait is called when little is left", (t) => {
  const bench = new Bench();
  const stream = bench.stream(1, 0);
  let writable = 0;
  stream.receiver = { ...stream.receiver, onWritable: () => writable++ };
  t.false(stream.write(Buffer.alloc(300_000)));
  bench.scheduler.openConnection(1_000_000);
  bench.scheduler.openStream(stream, 200_000);
  t.is(writable, 0);
  bench.scheduler.openStream(stream, 50_000);
  t.is(writable, 1);
});

test("what a stream has queued can be dropped, and the others go on", (t) => {
  const bench = new Bench();
  const one = bench.stream(1, 1_000_000);
  const two = bench.stream(3, 1_000_000);
  one.write(Buffer.alloc(100_000, 1));
  two.write(Buffer.alloc(100_000, 3));
  bench.scheduler.drop(one);
  one.closed = true;
  const before = bench.contentOf(1).length;
  bench.scheduler.openConnection(1_000_000);
  t.is(bench.contentOf(1).length, before);
  t.is(bench.contentOf(3).length, 100_000);
});

const deed = fc.oneof(
  fc.record({
    kind: fc.constant("write" as const),
    stream: fc.nat({ max: 3 }),
    size: fc.oneof(fc.integer({ min: 0, max: 50 }), fc.integer({ min: 16_000, max: 90_000 })),
    message: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant("open" as const),
    stream: fc.nat({ max: 3 }),
    by: fc.integer({ min: 1, max: 50_000 }),
  }),
  fc.record({ kind: fc.constant("shrink" as const), by: fc.integer({ min: 1, max: 20_000 }) }),
  fc.record({ kind: fc.constant("connection" as const), by: fc.integer({ min: 1, max: 80_000 }) }),
);

test("however windows open and shrink: they are kept, nothing is lost, and each stream's bytes are in order", (t) => {
  fc.assert(
    fc.property(fc.array(deed, { maxLength: 60 }), (deeds) => {
      const bench = new Bench();
      const streams = [1, 3, 5, 7].map((id) => bench.stream(id));
      const written: Buffer[][] = streams.map(() => []);
      // What the peer allowed in all, so far.
      const allowed = streams.map(() => 65_535);
      let connection = 65_535;
      const check = () => {
        const sent = streams.map(({ id }) => bench.contentOf(id).length);
        for (const [index, bytes] of sent.entries()) {
          const lost = Math.max(allowed[index]!, mostAllowed[index]!);
          if (bytes > lost) throw new Error(`stream ${index} sent ${bytes} of ${lost}`);
        }
        const all = sent.reduce((sum, bytes) => sum + bytes, 0);
        if (all > connection) throw new Error(`${all} bytes of ${connection}`);
      };
      // A window that shrinks takes nothing back that was sent.
      const mostAllowed = [...allowed];
      let fill = 0;
      for (const each of deeds) {
        if (each.kind === "write") {
          const stream = streams[each.stream]!;
          const bytes = Buffer.alloc(each.size, ++fill);
          if (each.message) {
            const prefix = Buffer.alloc(5);
            prefix.writeUInt32BE(each.size, 1);
            written[each.stream]!.push(prefix, bytes);
            stream.writeMessage(bytes);
          } else {
            written[each.stream]!.push(bytes);
            stream.write(bytes);
          }
        } else if (each.kind === "open") {
          allowed[each.stream]! += each.by;
          mostAllowed[each.stream] = Math.max(mostAllowed[each.stream]!, allowed[each.stream]!);
          bench.scheduler.openStream(streams[each.stream]!, each.by);
        } else if (each.kind === "connection") {
          connection += each.by;
          bench.scheduler.openConnection(each.by);
        } else {
          for (const [index, stream] of streams.entries()) {
            allowed[index]! -= each.by;
            stream.sendWindow -= each.by;
          }
        }
        check();
      }
      // All windows open: the rest leaves.
      bench.scheduler.openConnection(100_000_000);
      for (const [index, stream] of streams.entries()) {
        stream.end();
        bench.scheduler.openStream(stream, 100_000_000);
        t.true(bench.contentOf(stream.id).equals(Buffer.concat(written[index]!)));
      }
      t.deepEqual(bench.ended.toSorted(), [1, 3, 5, 7]);
    }),
    { numRuns: 100 },
  );
});
