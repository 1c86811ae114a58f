import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { ExecutionContext } from "ava";
import {
  codeOf,
  describeFrame,
  nameOfCode,
  pingFrame,
  type RawFrame,
  rawFlag,
  rawHeadBytes,
  rawPreface,
  rawType,
  settingsAck,
  settingsFrame,
} from "./raw-http2-frames.ts";

/** How a {@link RawHttp2Peer} begins and what it does by itself. */
export interface RawPeerOptions {
  /** First SETTINGS, by identifier and value; default none. */
  readonly settings?: readonly (readonly [number, number])[];
  /** Sends the preface and SETTINGS; default true. */
  readonly begins?: boolean;
  /** Acknowledges SETTINGS; default true. */
  readonly acknowledges?: boolean;
  /** Answers PING; default true. */
  readonly answersPing?: boolean;
  /** Speaks TLS with ALPN h2, and trusts this certificate. */
  readonly ca?: Buffer;
}

/** Longest wait for what must come, in ms: then the test fails and says what came instead. */
const withinMs = 15_000;
/** Frames of the past that a failure tells of. */
const toldFrames = 12;

interface Waiter {
  readonly matches: (frame: RawFrame) => boolean;
  readonly resolve: (frame: RawFrame) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A peer of HTTP/2 that does what a test says and no more: it writes any bytes, keeps no state of
 * streams, and respects no window. What it reads it keeps until the test asks for it.
 */
export class RawHttp2Peer {
  readonly socket: Socket;
  /** Resolves when the connection is closed, however that came about. */
  readonly closed: Promise<void>;
  readonly #options: RawPeerOptions;
  #unread: Buffer = Buffer.alloc(0);
  /** Frames that no test has asked for yet. */
  #queue: RawFrame[] = [];
  readonly #counts = new Map<number, number>();
  readonly #past: string[] = [];
  readonly #waiters = new Set<Waiter>();
  #isClosed = false;

  constructor(socket: Socket, options: RawPeerOptions) {
    this.socket = socket;
    this.#options = options;
    socket.on("error", () => {});
    socket.on("data", (chunk: Buffer) => this.#onData(chunk));
    this.closed = new Promise((resolve) => {
      socket.once("close", () => {
        this.#isClosed = true;
        for (const { reject } of this.#waiters) reject(this.#missing("the connection was closed"));
        this.#waiters.clear();
        resolve();
      });
    });
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Writes bytes as they are; false when the socket asks to wait. */
  write(...parts: readonly Uint8Array[]): boolean {
    if (this.socket.destroyed || this.socket.writableEnded) return false;
    return this.socket.write(parts.length === 1 ? parts[0]! : Buffer.concat(parts));
  }

  /**
   * Writes the same kind of bytes over and over, as fast as the socket takes them, until the count is
   * reached or the connection ends.
   *
   * @returns how often it wrote
   */
  async flood(count: number, make: (turn: number) => Uint8Array, batch = 64): Promise<number> {
    let sent = 0;
    while (sent < count && !this.#isClosed && !this.socket.destroyed) {
      const parts: Uint8Array[] = [];
      const end = Math.min(count, sent + batch);
      for (; sent < end; sent++) parts.push(make(sent));
      if (!this.write(...parts)) await this.#drained();
      else await new Promise((resolve) => setImmediate(resolve));
    }
    return sent;
  }

  /**
   * The first frame not yet taken that matches; those before it stay for later questions.
   *
   * @throws Error that says what came instead, if the connection closes or nothing matches in time
   */
  next(matches: (frame: RawFrame) => boolean = () => true, what = "a frame"): Promise<RawFrame> {
    const index = this.#queue.findIndex(matches);
    if (index !== -1) return Promise.resolve(this.#queue.splice(index, 1)[0]!);
    if (this.#isClosed) return Promise.reject(this.#missing(`${what}: the connection is closed`));
    return this.#within(what, (resolve, reject) => {
      const waiter: Waiter = { matches, resolve, reject };
      this.#waiters.add(waiter);
      return () => this.#waiters.delete(waiter);
    });
  }

  /** Waits for GOAWAY and gives the name of its code. */
  async goAway(): Promise<string> {
    return nameOfCode(codeOf(await this.next(({ type }) => type === rawType.goAway, "GOAWAY")));
  }

  /** Waits for RST_STREAM and gives the name of its code. */
  async reset(streamId: number): Promise<string> {
    const isReset = (frame: RawFrame): boolean =>
      frame.type === rawType.rstStream && frame.streamId === streamId;
    return nameOfCode(codeOf(await this.next(isReset, `RST_STREAM on ${streamId}`)));
  }

  /** Waits for the last frame of an answer; false if it was reset instead. */
  async ended(streamId: number): Promise<boolean> {
    const frame = await this.next(
      ({ type, flags, streamId: of }) =>
        of === streamId &&
        (type === rawType.rstStream ||
          ((type === rawType.data || type === rawType.headers) &&
            (flags & rawFlag.endStream) !== 0)),
      `the end of stream ${streamId}`,
    );
    return frame.type !== rawType.rstStream;
  }

  /** Waits until the peer has seen all that was written: it answers PING in order. */
  async roundTrip(): Promise<void> {
    const payload = Buffer.from(`${Math.random()}`.padEnd(10, "7").slice(2, 10), "latin1");
    this.write(pingFrame(payload));
    await this.next(
      ({ type, flags, payload: given }) =>
        type === rawType.ping && (flags & rawFlag.ack) !== 0 && given.equals(payload),
      "the answer to PING",
    );
  }

  /** Waits for the end of the connection. */
  end(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    return this.#within("the end of the connection", (resolve) => {
      void this.closed.then(resolve);
      return () => {};
    });
  }

  /** How many frames of a type came so far. */
  count(type: number): number {
    return this.#counts.get(type) ?? 0;
  }

  /** Stops reading: the kernel's buffers fill up. */
  stopReading(): void {
    this.socket.pause();
  }

  readOn(): void {
    this.socket.resume();
  }

  /** Vanishes without a word of HTTP/2. */
  destroy(): void {
    this.socket.destroy();
  }

  async #drained(): Promise<void> {
    if (this.socket.destroyed) return;
    await Promise.race([
      once(this.socket, "drain").catch(() => {}),
      this.closed,
      // A peer that stops reading never lets this socket drain; its end comes by 'close'.
    ]);
  }

  #within<Value>(
    what: string,
    begin: (resolve: (value: Value) => void, reject: (error: Error) => void) => () => void,
  ): Promise<Value> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        stop();
        reject(this.#missing(`${what} did not come within ${withinMs} ms`));
      }, withinMs);
      const stop = begin(
        (value) => {
          clearTimeout(timer);
          resolve(value);
        },
        (error) => {
          clearTimeout(timer);
          reject(error);
        },
      );
    });
  }

  #missing(problem: string): Error {
    const seen = this.#past.length === 0 ? "nothing came" : `last came: ${this.#past.join("; ")}`;
    return new Error(`${problem}; ${seen}`);
  }

  #onData(chunk: Buffer): void {
    let bytes = this.#unread.byteLength === 0 ? chunk : Buffer.concat([this.#unread, chunk]);
    while (bytes.byteLength >= rawHeadBytes) {
      const end = rawHeadBytes + bytes.readUIntBE(0, 3);
      if (bytes.byteLength < end) break;
      this.#onFrame({
        type: bytes[3]!,
        flags: bytes[4]!,
        streamId: bytes.readUInt32BE(5) & 0x7fff_ffff,
        payload: bytes.subarray(rawHeadBytes, end),
      });
      bytes = bytes.subarray(end);
    }
    this.#unread = bytes;
  }

  #onFrame(frame: RawFrame): void {
    const { type, flags } = frame;
    this.#counts.set(type, this.count(type) + 1);
    this.#past.push(describeFrame(frame));
    if (this.#past.length > toldFrames) this.#past.shift();
    const isRequest = (flags & rawFlag.ack) === 0;
    if (type === rawType.settings && isRequest && this.#options.acknowledges !== false) {
      this.write(settingsAck);
    }
    if (type === rawType.ping && isRequest && this.#options.answersPing !== false) {
      this.write(pingFrame(frame.payload, rawFlag.ack));
    }
    for (const waiter of this.#waiters) {
      if (!waiter.matches(frame)) continue;
      this.#waiters.delete(waiter);
      waiter.resolve(frame);
      return;
    }
    this.#queue.push(frame);
  }
}

/** Connects a {@link RawHttp2Peer} until the test ends. */
export async function openRawPeer(
  t: Pick<ExecutionContext<unknown>, "teardown">,
  port: number,
  options: RawPeerOptions = {},
): Promise<RawHttp2Peer> {
  const { ca, settings = [], begins = true } = options;
  const socket = ca
    ? connectTls({ port, host: "127.0.0.1", servername: "localhost", ca, ALPNProtocols: ["h2"] })
    : connect({ port, host: "127.0.0.1", noDelay: true });
  const peer = new RawHttp2Peer(socket, options);
  t.teardown(() => peer.destroy());
  await Promise.race([once(socket, ca ? "secureConnect" : "connect").catch(() => {}), peer.closed]);
  if (begins) peer.write(rawPreface, settingsFrame(...settings));
  return peer;
}
