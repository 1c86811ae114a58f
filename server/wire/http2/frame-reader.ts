import { errorCode, frameFlag, frameHeaderBytes, frameType } from "./frame.ts";
import { ConnectionError } from "./http2-error.ts";

/** Takes the frames that a {@link FrameReader} finds. */
export interface FrameSink {
  /** A frame that is whole; its payload is `bytes` from `start` to `end`, and is not kept. */
  onFrame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void;
  /** The header of a DATA frame without padding; its payload follows in parts. */
  onDataStart(flags: number, streamId: number, length: number): void;
  /** Part of the payload of the DATA frame; at least one, empty only for an empty frame. */
  onDataPart(bytes: Buffer, last: boolean): void;
  /** Called before the payload of a frame is waited for. Throws for one that may not come. */
  onFrameStart(type: number, streamId: number): void;
}

const empty = Buffer.alloc(0);

/** Splits the bytes of a connection into frames, without waiting for the end of DATA. */
export class FrameReader {
  readonly #sink: FrameSink;
  /** Our SETTINGS_MAX_FRAME_SIZE. */
  maxFrameBytes: number;
  /** Header of a frame that came in pieces. */
  #header: Buffer | undefined;
  #headerHave = 0;
  /** Payload of a frame that came in pieces. */
  #payload: Buffer | undefined;
  #payloadHave = 0;
  #type = 0;
  #flags = 0;
  #streamId = 0;
  /** Payload of the DATA frame that is still to come. */
  #dataLeft = 0;
  #stopped = false;
  #frames = 0;

  constructor(sink: FrameSink, maxFrameBytes: number) {
    this.#sink = sink;
    this.maxFrameBytes = maxFrameBytes;
  }

  /** Frames whose header has come, so far. */
  get frames(): number {
    return this.#frames;
  }

  /** Whether a frame was begun whose end is needed to do anything with it: any but DATA. */
  get isWithinFrame(): boolean {
    return this.#headerHave > 0 || this.#payload !== undefined;
  }

  /** Reads nothing more. */
  stop(): void {
    this.#stopped = true;
  }

  /**
   * Takes the next bytes of the connection.
   *
   * @throws ConnectionError what the sink throws, and FRAME_SIZE_ERROR
   */
  read(chunk: Buffer): void {
    const { length } = chunk;
    let at = 0;
    while (at < length && !this.#stopped) {
      if (this.#dataLeft > 0) {
        const end = Math.min(length, at + this.#dataLeft);
        const part = at === 0 && end === length ? chunk : chunk.subarray(at, end);
        this.#dataLeft -= end - at;
        at = end;
        this.#sink.onDataPart(part, this.#dataLeft === 0);
        continue;
      }
      if (this.#payload !== undefined) {
        at = this.#fillPayload(chunk, at);
        continue;
      }
      let source = chunk;
      let header = at;
      if (this.#headerHave > 0 || length - at < frameHeaderBytes) {
        at = this.#fillHeader(chunk, at);
        if (this.#headerHave < frameHeaderBytes) return;
        source = this.#header!;
        header = 0;
        this.#headerHave = 0;
      } else at += frameHeaderBytes;
      at = this.#frame(source, header, chunk, at);
    }
  }

  #frame(source: Buffer, header: number, chunk: Buffer, at: number): number {
    const size = (source[header]! << 16) | (source[header + 1]! << 8) | source[header + 2]!;
    const type = source[header + 3]!;
    const flags = source[header + 4]!;
    const streamId =
      ((source[header + 5]! & 0x7f) << 24) |
      (source[header + 6]! << 16) |
      (source[header + 7]! << 8) |
      source[header + 8]!;
    if (size > this.maxFrameBytes) {
      throw new ConnectionError(
        errorCode.frameSizeError,
        `a frame of ${size} bytes, SETTINGS_MAX_FRAME_SIZE is ${this.maxFrameBytes}`,
      );
    }
    this.#frames++;
    this.#sink.onFrameStart(type, streamId);
    if (type === frameType.data && (flags & frameFlag.padded) === 0) {
      this.#sink.onDataStart(flags, streamId, size);
      if (size === 0) this.#sink.onDataPart(empty, true);
      else this.#dataLeft = size;
      return at;
    }
    if (chunk.length - at >= size) {
      this.#sink.onFrame(type, flags, streamId, chunk, at, at + size);
      return at + size;
    }
    this.#type = type;
    this.#flags = flags;
    this.#streamId = streamId;
    this.#payload = Buffer.allocUnsafe(size);
    this.#payloadHave = 0;
    return at;
  }

  #fillHeader(chunk: Buffer, at: number): number {
    this.#header ??= Buffer.allocUnsafeSlow(frameHeaderBytes);
    const copied = chunk.copy(
      this.#header,
      this.#headerHave,
      at,
      at + frameHeaderBytes - this.#headerHave,
    );
    this.#headerHave += copied;
    return at + copied;
  }

  #fillPayload(chunk: Buffer, at: number): number {
    const payload = this.#payload!;
    const copied = chunk.copy(payload, this.#payloadHave, at);
    this.#payloadHave += copied;
    if (this.#payloadHave === payload.length) {
      this.#payload = undefined;
      this.#sink.onFrame(this.#type, this.#flags, this.#streamId, payload, 0, payload.length);
    }
    return at + copied;
  }
}
