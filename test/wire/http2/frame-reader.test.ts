import test from "ava";
import fc from "fast-check";
import { FrameReader, type FrameSink } from "../../../server/wire/http2/frame-reader.ts";
import { ConnectionError } from "../../../server/wire/http2/http2-error.ts";
import { dataFrame, rawFlag, rawFrame, rawType } from "../../support/raw-http2-frames.ts";

interface Seen {
  readonly type: number;
  readonly flags: number;
  readonly streamId: number;
  payload: Buffer;
}

/** Gathers frames; DATA that comes in parts is put together. */
class Gatherer implements FrameSink {
  readonly seen: Seen[] = [];
  readonly starts: [number, number][] = [];
  open: { left: number } | undefined;

  onFrame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ) {
    this.seen.push({ type, flags, streamId, payload: Buffer.from(bytes.subarray(start, end)) });
  }

  onDataStart(flags: number, streamId: number, length: number): void {
    if (this.open) throw new Error("DATA within DATA");
    this.open = { left: length };
    this.seen.push({ type: rawType.data, flags, streamId, payload: Buffer.alloc(0) });
  }

  onDataPart(bytes: Buffer, last: boolean): void {
    const frame = this.seen.at(-1)!;
    frame.payload = Buffer.concat([frame.payload, bytes]);
    this.open!.left -= bytes.length;
    if (last !== (this.open!.left === 0)) throw new Error("the last part is not the last");
    if (last) this.open = undefined;
  }

  onFrameStart(type: number, streamId: number): void {
    this.starts.push([type, streamId]);
  }
}

const frame = fc.record({
  type: fc.integer({ min: 0, max: 12 }),
  flags: fc.integer({ min: 0, max: 255 }),
  streamId: fc.integer({ min: 0, max: 0x7fff_ffff }),
  payload: fc.uint8Array({ maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
});

test("frames are the same wherever the bytes are cut", (t) => {
  fc.assert(
    fc.property(
      fc.array(frame, { maxLength: 10 }),
      fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 200 }),
      (frames, cuts) => {
        const bytes = Buffer.concat(
          frames.map(({ type, flags, streamId, payload }) =>
            rawFrame(type, flags, streamId, payload),
          ),
        );
        const sink = new Gatherer();
        const reader = new FrameReader(sink, 16_384);
        for (let at = 0, cut = 0; at < bytes.length; cut++) {
          const end = Math.min(bytes.length, at + cuts[cut % cuts.length]!);
          reader.read(bytes.subarray(at, end));
          at = end;
        }
        t.deepEqual(sink.seen, frames);
        t.is(sink.open, undefined);
        t.false(reader.isWithinFrame);
        t.is(reader.frames, frames.length);
        t.deepEqual(
          sink.starts,
          frames.map(({ type, streamId }) => [type, streamId]),
        );
      },
    ),
    { numRuns: 300 },
  );
});

test("DATA is given as it comes, not when it is whole; padded DATA when it is whole", (t) => {
  const sink = new Gatherer();
  const reader = new FrameReader(sink, 16_384);
  const bytes = dataFrame(1, Buffer.alloc(1000, 7));
  reader.read(bytes.subarray(0, 109));
  t.is(sink.seen[0]!.payload.length, 100);
  t.false(reader.isWithinFrame);
  reader.read(bytes.subarray(109));
  t.is(sink.seen[0]!.payload.length, 1000);
  const padded = dataFrame(1, Buffer.alloc(50), rawFlag.padded);
  reader.read(padded.subarray(0, 40));
  t.is(sink.seen.length, 1);
  t.true(reader.isWithinFrame);
  reader.read(padded.subarray(40));
  t.is(sink.seen.length, 2);
});

test("the reserved bit before the stream's id is not looked at (RFC 9113, section 4.1)", (t) => {
  const sink = new Gatherer();
  new FrameReader(sink, 16_384).read(rawFrame(rawType.ping, 0, 0x8000_0003, Buffer.alloc(8)));
  t.is(sink.seen[0]!.streamId, 3);
});

test("a frame above the limit is refused by its header, before its payload is kept", (t) => {
  const sink = new Gatherer();
  const reader = new FrameReader(sink, 16_384);
  reader.read(rawFrame(rawType.headers, 0, 1, Buffer.alloc(16_384)));
  t.is(sink.seen.length, 1);
  const header = rawFrame(rawType.headers, 0, 1, Buffer.alloc(0), 16_385);
  const error = t.throws(() => reader.read(header), { instanceOf: ConnectionError });
  t.is(error?.code, 6);
  t.regex(error!.message, /16385.*16384/);
});

test("a reader that was stopped in the middle of a chunk reads no further", (t) => {
  const sink = new Gatherer();
  const reader = new FrameReader(sink, 16_384);
  sink.onFrame = (type, flags, streamId) => {
    sink.seen.push({ type, flags, streamId, payload: Buffer.alloc(0) });
    reader.stop();
  };
  reader.read(
    Buffer.concat([rawFrame(6, 0, 0, Buffer.alloc(8)), rawFrame(6, 0, 0, Buffer.alloc(8))]),
  );
  t.is(sink.seen.length, 1);
});
