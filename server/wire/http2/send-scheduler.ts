import {
  defaultMaxFrameBytes,
  defaultWindowBytes,
  frameFlag,
  frameHeaderBytes,
  frameType,
  maxWindowBytes,
  writeFrameHeader,
} from "./frame.ts";
import { type HeaderTemplate, HpackEncoder, type OutgoingField } from "./hpack/hpack-encoder.ts";
import type { Http2Stream } from "./http2-stream.ts";
import type { OutputBuffer } from "./output-buffer.ts";

const nothing = new Uint8Array(0);

/** Largest payload of a DATA frame, in bytes: what fits a slab. */
const maxDataBytes = 64 * 1024;

/** Bytes in the queue of a stream below which its owner may go on. */
const queueLowWater = 64 * 1024;

/** Bytes before a gRPC message. */
const messagePrefixBytes = 5;

function writePrefix(target: Uint8Array, at: number, length: number): void {
  target[at] = 0;
  target[at + 1] = length >>> 24;
  target[at + 2] = length >>> 16;
  target[at + 3] = length >>> 8;
  target[at + 4] = length;
}

/** Told by a {@link SendScheduler}. */
export interface SendListener {
  /** The last frame of our side of a stream was written. */
  onLocalEnd(stream: Http2Stream): void;
  /** A DATA frame was written. */
  onDataSent(bytes: number): void;
}

/**
 * Sends what streams have to send: header blocks at once, DATA as the windows and the socket allow,
 * one frame a stream in turn (RFC 9113, sections 5.2 and 6.9).
 */
export class SendScheduler {
  readonly encoder = new HpackEncoder();
  readonly #output: OutputBuffer;
  readonly #listener: SendListener;
  /** Bytes of DATA that the peer's connection window allows. */
  #window = defaultWindowBytes;
  #maxFrameBytes = defaultMaxFrameBytes;
  /** Streams with DATA and an open window, in turn. */
  #ready: Http2Stream[] = [];
  #pumping = false;

  constructor(output: OutputBuffer, listener: SendListener) {
    this.#output = output;
    this.#listener = listener;
  }

  get window(): number {
    return this.#window;
  }

  set maxFrameBytes(bytes: number) {
    this.#maxFrameBytes = bytes;
  }

  /** @returns false if the window would go beyond 2^31-1 */
  openConnection(bytes: number): boolean {
    if (this.#window + bytes > maxWindowBytes) return false;
    this.#window += bytes;
    this.pump();
    return true;
  }

  /** @returns false if the window would go beyond 2^31-1 */
  openStream(stream: Http2Stream, bytes: number): boolean {
    if (stream.sendWindow + bytes > maxWindowBytes) return false;
    stream.sendWindow += bytes;
    if (stream.sendWindow > 0 && stream.queuedBytes > 0 && !stream.scheduled) {
      this.#schedule(stream);
      this.pump();
    }
    return true;
  }

  /** Sends a header block, in as many frames as the peer needs. */
  headers(
    stream: Http2Stream,
    template: HeaderTemplate | undefined,
    fields: readonly OutgoingField[] | undefined,
    endStream: boolean,
  ): void {
    const block = template
      ? this.encoder.encode(template, fields)
      : this.encoder.encodeFields(fields ?? []);
    const endFlag = endStream ? frameFlag.endStream : 0;
    const max = defaultMaxFrameBytes;
    if (block.length <= max) {
      this.#output.writeFrame(frameType.headers, endFlag | frameFlag.endHeaders, stream.id, block);
    } else {
      for (let at = 0; at < block.length; at += max) {
        const last = at + max >= block.length;
        this.#output.writeFrame(
          at === 0 ? frameType.headers : frameType.continuation,
          (at === 0 ? endFlag : 0) | (last ? frameFlag.endHeaders : 0),
          stream.id,
          block.subarray(at, at + max),
        );
      }
    }
    if (endStream) this.#listener.onLocalEnd(stream);
  }

  /** Sends bytes, at once if nothing is in their way. */
  data(stream: Http2Stream, bytes: Uint8Array): void {
    const { length } = bytes;
    const fits =
      stream.queuedBytes === 0 &&
      length <= this.#maxFrameBytes &&
      length <= maxDataBytes &&
      length <= this.#window &&
      length <= stream.sendWindow &&
      this.#output.hasRoom;
    if (fits) {
      const ends = stream.endQueued && stream.trailers === undefined;
      if (length > 0 || ends) {
        this.#output.writeFrame(frameType.data, ends ? frameFlag.endStream : 0, stream.id, bytes);
        this.#countSent(stream, length);
      }
      if (ends) this.#listener.onLocalEnd(stream);
      return;
    }
    if (length === 0) {
      if (stream.endQueued && stream.queuedBytes === 0) this.end(stream);
      return;
    }
    if (stream.queuedBytes === 0) stream.queue = [];
    stream.queue.push(bytes);
    stream.queuedBytes += length;
    if (!stream.scheduled && stream.sendWindow > 0) this.#schedule(stream);
    this.pump();
  }

  /** Sends a gRPC message: five bytes before it say that it is not compressed, and how long it is. */
  message(stream: Http2Stream, message: Uint8Array | readonly Uint8Array[]): void {
    const single = message instanceof Uint8Array;
    let length = 0;
    if (single) length = message.length;
    else for (const part of message) length += part.length;
    const framed = length + messagePrefixBytes;
    const fits =
      stream.queuedBytes === 0 &&
      framed <= this.#maxFrameBytes &&
      framed <= maxDataBytes &&
      framed <= this.#window &&
      framed <= stream.sendWindow &&
      this.#output.hasRoom;
    if (!fits) {
      const prefix = Buffer.allocUnsafe(messagePrefixBytes);
      writePrefix(prefix, 0, length);
      if (stream.queuedBytes === 0) stream.queue = [];
      stream.queue.push(prefix);
      if (single) {
        if (length > 0) stream.queue.push(message);
      } else for (const part of message) if (part.length > 0) stream.queue.push(part);
      stream.queuedBytes += framed;
      if (!stream.scheduled && stream.sendWindow > 0) this.#schedule(stream);
      this.pump();
      return;
    }
    let at = this.#output.reserve(frameHeaderBytes + framed);
    const { buffer } = this.#output;
    const ends = stream.endQueued && stream.trailers === undefined;
    const flags = ends ? frameFlag.endStream : 0;
    writeFrameHeader(buffer, at, framed, frameType.data, flags, stream.id);
    at += frameHeaderBytes;
    writePrefix(buffer, at, length);
    at += messagePrefixBytes;
    if (single) {
      buffer.set(message, at);
      at += length;
    } else {
      for (const part of message) {
        buffer.set(part, at);
        at += part.length;
      }
    }
    this.#output.advance(at);
    this.#countSent(stream, framed);
    if (ends) this.#listener.onLocalEnd(stream);
  }

  /** Ends our side of a stream, when what it has queued is gone. */
  end(stream: Http2Stream): void {
    if (stream.queuedBytes > 0) return;
    const { trailers } = stream;
    if (trailers) {
      this.headers(stream, trailers.template, trailers.fields, true);
      return;
    }
    this.#output.writeFrame(frameType.data, frameFlag.endStream, stream.id, nothing);
    this.#listener.onLocalEnd(stream);
  }

  /** Forgets what a stream has queued. */
  drop(stream: Http2Stream): void {
    if (stream.queuedBytes > 0) {
      stream.queue = [];
      stream.queuedBytes = 0;
      stream.queueAt = 0;
      stream.chunkAt = 0;
    }
    if (stream.scheduled) {
      stream.scheduled = false;
      const index = this.#ready.indexOf(stream);
      if (index !== -1) this.#ready.splice(index, 1);
    }
  }

  #schedule(stream: Http2Stream): void {
    stream.scheduled = true;
    this.#ready.push(stream);
  }

  /** Sends what may be sent now. */
  pump(): void {
    // What a listener does below may come back here.
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (this.#ready.length > 0 && this.#window > 0) {
        if (!this.#output.hasRoom) {
          this.#output.flush();
          if (!this.#output.hasRoom) return;
        }
        const stream = this.#ready.shift()!;
        stream.scheduled = false;
        this.#sendFrame(stream);
        if (!stream.closed && stream.queuedBytes > 0 && stream.sendWindow > 0)
          this.#schedule(stream);
      }
    } finally {
      this.#pumping = false;
    }
  }

  #sendFrame(stream: Http2Stream): void {
    const length = Math.min(
      stream.queuedBytes,
      stream.sendWindow,
      this.#window,
      this.#maxFrameBytes,
      maxDataBytes,
    );
    if (length <= 0) return;
    const at = this.#output.reserve(frameHeaderBytes + length);
    const target = this.#output.buffer;
    this.#fill(stream, target, at + frameHeaderBytes, length);
    const ends = stream.queuedBytes === 0 && stream.endQueued && stream.trailers === undefined;
    writeFrameHeader(target, at, length, frameType.data, ends ? frameFlag.endStream : 0, stream.id);
    this.#output.advance(at + frameHeaderBytes + length);
    this.#countSent(stream, length);
    if (ends) this.#listener.onLocalEnd(stream);
    else if (stream.queuedBytes === 0 && stream.endQueued) this.end(stream);
    if (stream.ownerWaits && stream.queuedBytes <= queueLowWater && !stream.closed) {
      stream.ownerWaits = false;
      stream.receiver.onWritable?.();
    }
  }

  #countSent(stream: Http2Stream, bytes: number): void {
    this.#window -= bytes;
    stream.sendWindow -= bytes;
    stream.sentBytes += bytes;
    this.#listener.onDataSent(bytes);
  }

  /** Takes bytes from the front of a stream's queue. */
  #fill(stream: Http2Stream, target: Buffer, start: number, length: number): void {
    let at = start;
    let left = length;
    while (left > 0) {
      const chunk = stream.queue[stream.queueAt]!;
      const from = stream.chunkAt;
      const taken = Math.min(left, chunk.length - from);
      target.set(
        from === 0 && taken === chunk.length ? chunk : chunk.subarray(from, from + taken),
        at,
      );
      at += taken;
      left -= taken;
      if (from + taken === chunk.length) {
        stream.queue[stream.queueAt] = nothing;
        stream.queueAt++;
        stream.chunkAt = 0;
      } else stream.chunkAt = from + taken;
    }
    stream.queuedBytes -= length;
    if (stream.queuedBytes === 0) {
      stream.queue = [];
      stream.queueAt = 0;
    } else if (stream.queueAt > 64) {
      stream.queue.splice(0, stream.queueAt);
      stream.queueAt = 0;
    }
  }
}
