import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import test from "ava";
import fc from "fast-check";
import { OutputBuffer } from "../../../server/wire/http2/output-buffer.ts";
import { rawFrame } from "../../support/raw-http2-frames.ts";

/** A socket that takes a write when it is told to. */
class SlowSocket extends Duplex {
  readonly written: Buffer[] = [];
  writes = 0;
  #done: (() => void) | undefined;
  /** Takes every write at once. */
  fast = false;

  constructor() {
    super({ highWaterMark: 1 });
  }

  override _write(chunk: Buffer, _: unknown, done: () => void): void {
    this.#write([chunk], done);
  }

  override _writev(chunks: { chunk: Buffer }[], done: () => void): void {
    this.#write(
      chunks.map(({ chunk }) => chunk),
      done,
    );
  }

  override _read(): void {}

  #write(chunks: readonly Buffer[], done: () => void): void {
    this.writes++;
    for (const chunk of chunks) this.written.push(Buffer.from(chunk));
    if (this.fast) done();
    else this.#done = done;
  }

  /** The kernel has taken the write that is under way. */
  takeWrite(): boolean {
    const done = this.#done;
    this.#done = undefined;
    done?.();
    return done !== undefined;
  }

  get bytes(): Buffer {
    return Buffer.concat(this.written);
  }
}

function outputTo(socket: SlowSocket, onDrained: () => void = () => {}): OutputBuffer {
  return new OutputBuffer(socket as unknown as Socket, onDrained);
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("what is written in one turn leaves in one write", async (t) => {
  const socket = new SlowSocket();
  const output = outputTo(socket);
  const frames = [rawFrame(1, 4, 1, Buffer.from("head")), rawFrame(0, 1, 1, Buffer.from("data"))];
  output.writeFrame(1, 4, 1, Buffer.from("head"));
  await Promise.resolve();
  output.writeFrame(0, 1, 1, Buffer.from("data"));
  t.is(socket.writes, 0);
  await turn();
  await turn();
  t.is(socket.writes, 1);
  t.deepEqual(socket.bytes, Buffer.concat(frames));
  t.is(output.takenBytes, 0);
  socket.takeWrite();
  await turn();
  t.is(output.takenBytes, socket.bytes.length);
  t.is(output.pendingBytes, 0);
});

test("while a write is under way the next one gathers, and the owner is told when there is room", async (t) => {
  const socket = new SlowSocket();
  let drained = 0;
  const output = outputTo(socket, () => drained++);
  output.writeFrame(0, 0, 1, Buffer.alloc(10));
  output.flush();
  let written = 1;
  while (output.hasRoom) {
    output.writeFrame(0, 0, 1, Buffer.alloc(16_384));
    written++;
  }
  t.is(socket.writes, 1);
  // About four times 64 KiB may wait.
  t.true(written > 10 && written < 20, `${written}`);
  t.is(drained, 0);
  while (socket.takeWrite()) await turn();
  t.is(socket.writes, 2);
  t.true(drained >= 1);
  t.is(socket.bytes.length, 19 + (written - 1) * (9 + 16_384));
});

test("whatever is written, in whatever turns: all bytes leave, in order", async (t) => {
  const deed = fc.oneof(
    fc.record({ kind: fc.constant("frame" as const), size: fc.integer({ min: 0, max: 16_384 }) }),
    fc.record({ kind: fc.constantFrom("turn", "take", "flush", "hold", "release", "fast") }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { maxLength: 60 }), async (deeds) => {
      const socket = new SlowSocket();
      const output = outputTo(socket);
      const expected: Buffer[] = [];
      for (const [index, each] of deeds.entries()) {
        if (each.kind === "frame") {
          const payload = Buffer.alloc("size" in each ? each.size : 0, index);
          output.writeFrame(0, 0, 1, payload);
          expected.push(rawFrame(0, 0, 1, payload));
        } else if (each.kind === "turn") await turn();
        else if (each.kind === "take") socket.takeWrite();
        else if (each.kind === "flush") output.flush();
        else if (each.kind === "hold") output.hold();
        else if (each.kind === "release") output.release();
        else socket.fast = !socket.fast;
      }
      socket.fast = true;
      output.release();
      const total = expected.reduce((sum, { length }) => sum + length, 0);
      for (let wait = 0; wait < 10 || output.pendingBytes > 0; wait++) {
        if (wait > 1000) throw new Error(`${output.pendingBytes} bytes do not leave`);
        socket.takeWrite();
        await turn();
      }
      t.is(output.takenBytes, total);
      t.true(socket.bytes.equals(Buffer.concat(expected)));
    }),
    { numRuns: 100 },
  );
});

test("what is held back leaves when it is released, in one write", async (t) => {
  const socket = new SlowSocket();
  socket.fast = true;
  const output = outputTo(socket);
  output.hold();
  output.writeFrame(0, 0, 1, Buffer.alloc(10));
  await turn();
  await turn();
  t.is(socket.writes, 0);
  output.writeFrame(0, 0, 1, Buffer.alloc(10));
  output.release();
  t.is(socket.writes, 1);
});

test("end: what was written leaves, then the socket is ended", async (t) => {
  const socket = new SlowSocket();
  const output = outputTo(socket);
  output.writeFrame(0, 0, 1, Buffer.alloc(10));
  output.flush();
  output.writeFrame(0, 0, 1, Buffer.alloc(20));
  output.end();
  t.false(socket.writableEnded);
  while (socket.takeWrite()) await turn();
  await turn();
  t.is(socket.bytes.length, 19 + 29);
  t.true(socket.writableEnded);
});

test("a socket that is gone takes nothing, and holds nothing", async (t) => {
  const socket = new SlowSocket();
  const output = outputTo(socket);
  socket.destroy();
  for (let frame = 0; frame < 40; frame++) output.writeFrame(0, 0, 1, Buffer.alloc(16_384));
  await turn();
  await turn();
  t.is(output.pendingBytes, 0);
  t.is(socket.writes, 0);
});
