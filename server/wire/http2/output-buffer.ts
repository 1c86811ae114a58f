import type { Socket } from "node:net";
import { frameHeaderBytes, writeFrameHeader } from "./frame.ts";

/** Four full frames of the size that every peer takes, and some small ones. */
const slabBytes = 64 * 1024 + 512;
/** Slabs that are kept for the next writer, of any connection. */
const maxFreeSlabs = 64;
const freeSlabs: Buffer[] = [];

/** Bytes of DATA that wait for the socket at once; more stays with the streams. */
const softLimitBytes = 4 * slabBytes;

/**
 * What is written to one connection while another one is read leaves when that is through, if nothing else
 * has left so within this time, in ms; else with all that is written in the turn. A call that comes alone
 * does not wait for the turn to end, and those that come close together share a write.
 */
const aloneMs = 0.02;
/** Connections that are being read now. */
let reading = 0;
let lastEarlyFlush = 0;
const early: OutputBuffer[] = [];

/**
 * Frames on their way to the socket. What is written in one turn of the event loop leaves in one
 * write; while that is under way the next one gathers. Without anything to write it holds no memory.
 */
export class OutputBuffer {
  readonly #socket: Socket;
  readonly #onDrained: () => void;
  #full: Buffer[] = [];
  #slab: Buffer | undefined;
  #at = 0;
  #inFlight: Buffer[] = [];
  #inFlightBytes = 0;
  /** Callbacks to come of writes that were found done before. */
  #settledEarly = 0;
  #scheduled = false;
  #held = false;
  #ending = false;
  /** Bytes given to the socket so far, and taken by it. */
  #flushedBytes = 0;
  #flushes = 0;

  /** @param onDrained - called when the socket has taken a write, and DATA may follow */
  constructor(socket: Socket, onDrained: () => void) {
    this.#socket = socket;
    this.#onDrained = onDrained;
  }

  /** Bytes that the socket has not taken. */
  get pendingBytes(): number {
    return this.#inFlightBytes + this.#full.length * slabBytes + this.#at;
  }

  /** Bytes that the socket has taken, since the beginning. */
  get takenBytes(): number {
    return this.#flushedBytes;
  }

  /** How often the socket was given what had gathered: what is written later has not left yet. */
  get flushes(): number {
    return this.#flushes;
  }

  /** False when DATA has to wait. */
  get hasRoom(): boolean {
    return this.#full.length * slabBytes + this.#at + this.#inFlightBytes < softLimitBytes;
  }

  /** Gives the socket what has gathered if that is a lot; false when DATA has to wait nevertheless. */
  makeRoom(): boolean {
    if (this.hasRoom) return true;
    this.flush();
    return this.hasRoom;
  }

  /**
   * Makes room for bytes in one piece, to be written by the caller at {@link buffer} and told by
   * {@link advance}.
   *
   * @param bytes - 64 KiB and 512 bytes at most
   * @returns where to write
   */
  reserve(bytes: number): number {
    if (this.#slab === undefined) {
      this.#slab = freeSlabs.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
      if (!this.#scheduled && !this.#held) this.#schedule();
    } else if (this.#at + bytes > slabBytes) {
      // What is full leaves with its true length; the rest of the slab is not used.
      this.#full.push(this.#slab.subarray(0, this.#at));
      this.#slab = freeSlabs.pop() ?? Buffer.allocUnsafeSlow(slabBytes);
      this.#at = 0;
    }
    return this.#at;
  }

  /** The slab that {@link reserve} made room in. */
  get buffer(): Buffer {
    return this.#slab!;
  }

  advance(at: number): void {
    this.#at = at;
  }

  /** Writes a frame whose payload is small. */
  writeFrame(type: number, flags: number, streamId: number, payload: Uint8Array): void {
    const { length } = payload;
    const at = this.reserve(frameHeaderBytes + length);
    const buffer = this.#slab!;
    writeFrameHeader(buffer, at, length, type, flags, streamId);
    buffer.set(payload, at + frameHeaderBytes);
    this.#at = at + frameHeaderBytes + length;
  }

  /** Writes text of HTTP/1.1, whose characters are bytes; heads are bounded, so it is small. */
  writeText(text: string): void {
    const { length } = text;
    if (length > slabBytes) {
      this.writeBytes(Buffer.from(text, "latin1"));
      return;
    }
    const at = this.reserve(length);
    this.#at = at + this.#slab!.write(text, at, length, "latin1");
  }

  /** Writes bytes of any number. */
  writeBytes(bytes: Uint8Array): void {
    const { length } = bytes;
    for (let from = 0; from < length; ) {
      const room = this.#slab === undefined ? slabBytes : slabBytes - this.#at;
      const taken = Math.min(length - from, room === 0 ? slabBytes : room);
      const at = this.reserve(taken);
      const whole = taken === length;
      this.#slab!.set(whole ? bytes : bytes.subarray(from, from + taken), at);
      this.#at = at + taken;
      from += taken;
    }
  }

  /** Holds back what is written until {@link release}: more is sure to come in this turn. */
  hold(): void {
    this.#held = true;
    reading++;
  }

  release(): void {
    this.#held = false;
    reading--;
    if (this.#slab !== undefined && this.#inFlightBytes === 0) this.flush();
    if (reading === 0 && early.length > 0) flushEarly();
  }

  /** Flushes, unless what is written is held back now. */
  flushEarly(): void {
    this.#scheduled = false;
    if (!this.#held) this.flush();
  }

  #schedule(): void {
    this.#scheduled = true;
    if (reading > 0) {
      const now = performance.now();
      if (early.length > 0 || now - lastEarlyFlush > aloneMs) {
        lastEarlyFlush = now;
        early.push(this);
        return;
      }
    }
    // Later than nextTick: what the callbacks of one turn write, one after the other, leaves together.
    setImmediate(this.#onTurn);
  }

  readonly #onTurn = (): void => {
    this.#scheduled = false;
    if (!this.#held) this.flush();
  };

  /** Gives the socket what has gathered, unless a write is under way. */
  flush(): void {
    const slab = this.#slab;
    if (this.#inFlightBytes > 0 || slab === undefined) return;
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) {
      this.drop();
      return;
    }
    this.#slab = undefined;
    this.#flushes++;
    const last = this.#at === slabBytes ? slab : slab.subarray(0, this.#at);
    const pieces = this.#full;
    this.#inFlightBytes = this.#at;
    this.#at = 0;
    if (pieces.length === 0) {
      this.#inFlight.push(slab);
      socket.write(last, this.#onWritten);
    } else {
      this.#full = [];
      socket.cork();
      for (const piece of pieces) {
        this.#inFlightBytes += piece.length;
        this.#inFlight.push(piece);
        socket.write(piece);
      }
      this.#inFlight.push(slab);
      socket.write(last, this.#onWritten);
      socket.uncork();
    }
    // Mostly the kernel takes the bytes at once; then the slabs are free before the callback comes.
    if (socket.writableLength === 0) {
      this.#settledEarly++;
      this.#settle();
    }
  }

  /** Ends the socket behind what was written; what is written later is dropped. */
  end(): void {
    this.#ending = true;
    this.flush();
    this.#endWhenEmpty();
  }

  #endWhenEmpty(): void {
    // What waits for a write that is under way is given to the socket when that is over.
    if (this.#slab === undefined && !this.#socket.writableEnded) this.#socket.end();
  }

  /** Forgets what was not given to the socket. */
  drop(): void {
    if (this.#slab) recycle(this.#slab);
    for (const piece of this.#full) recycle(piece);
    this.#slab = undefined;
    this.#full = [];
    this.#at = 0;
  }

  readonly #onWritten = (): void => {
    if (this.#settledEarly > 0) {
      this.#settledEarly--;
      return;
    }
    this.#settle();
    this.#onDrained();
    if (this.#ending) {
      this.flush();
      this.#endWhenEmpty();
    } else if (!this.#held) this.flush();
  };

  #settle(): void {
    this.#flushedBytes += this.#inFlightBytes;
    this.#inFlightBytes = 0;
    for (const slab of this.#inFlight) recycle(slab);
    this.#inFlight.length = 0;
  }
}

function flushEarly(): void {
  for (const output of early) output.flushEarly();
  early.length = 0;
}

function recycle(slab: Buffer): void {
  if (freeSlabs.length >= maxFreeSlabs) return;
  freeSlabs.push(slab.length === slabBytes ? slab : Buffer.from(slab.buffer, 0, slabBytes));
}
