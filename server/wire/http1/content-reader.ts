import type { HeaderField } from "../http2/hpack/header-field.ts";
import { readFieldLines } from "./field-lines.ts";
import { Http1Error } from "./http1-error.ts";
import type { ContentEnd } from "./read-head.ts";

/** Told by a {@link ContentReader}. */
export interface ContentSink {
  /** Content without its framing; `last` with its end. */
  onContent(bytes: Buffer, last: boolean): void;
  /** Trailers; the content has ended. */
  onContentTrailers(fields: readonly HeaderField[]): void;
}

/** Bytes of a chunk's line, and of the trailers, beyond which a message is refused. */
const maxLineBytes = 4096;
const maxTrailerBytes = 32 * 1024;

const nothing = Buffer.alloc(0);
const cr = 0x0d;
const lf = 0x0a;

/** Where in chunked content (RFC 9112, section 7.1) the reader stands. */
type ChunkState = "size" | "extension" | "size-lf" | "data" | "data-cr" | "data-lf" | "trailers";

/** Reads the content of one message after the other, and knows where each ends. */
export class ContentReader {
  readonly #sink: ContentSink;
  #end: ContentEnd = "none";
  #remaining = 0;
  #state: ChunkState = "size";
  #digits = 0;
  #lineBytes = 0;
  #trailers = "";
  /** The content has ended, or there is none. */
  done = true;

  constructor(sink: ContentSink) {
    this.#sink = sink;
  }

  /** @param length - bytes of content that ends by its `length` */
  begin(end: ContentEnd, length: number): void {
    this.#end = end;
    this.#remaining = end === "length" ? length : 0;
    this.#state = "size";
    this.#digits = 0;
    this.#lineBytes = 0;
    this.#trailers = "";
    this.done = end === "none";
  }

  /** The connection has ended: true if that is where the content ends. */
  endsByClose(): boolean {
    return !this.done && this.#end === "close";
  }

  /**
   * Reads on.
   *
   * @returns where in the chunk the content ended, or the chunk
   * @throws Http1Error for chunks that are none
   */
  read(chunk: Buffer, start: number): number {
    if (this.#end === "close") {
      this.#sink.onContent(start === 0 ? chunk : chunk.subarray(start), false);
      return chunk.length;
    }
    if (this.#end === "length") {
      const taken = Math.min(this.#remaining, chunk.length - start);
      this.#remaining -= taken;
      const last = this.#remaining === 0;
      if (last) this.done = true;
      if (taken > 0) this.#sink.onContent(chunk.subarray(start, start + taken), last);
      return start + taken;
    }
    let at = start;
    while (at < chunk.length && !this.done) at = this.#readChunked(chunk, at);
    return at;
  }

  #readChunked(chunk: Buffer, start: number): number {
    let at = start;
    switch (this.#state) {
      case "data": {
        const end = Math.min(at + this.#remaining, chunk.length);
        this.#remaining -= end - at;
        if (this.#remaining === 0) this.#state = "data-cr";
        if (this.#remaining === 0 && endsHere(chunk, end)) {
          this.done = true;
          this.#sink.onContent(chunk.subarray(at, end), true);
          return end + lastChunk.length;
        }
        this.#sink.onContent(chunk.subarray(at, end), false);
        return end;
      }
      case "data-cr":
        if (chunk[at++] !== cr) throw badChunk();
        this.#state = "data-lf";
        return at;
      case "data-lf":
        if (chunk[at++] !== lf) throw badChunk();
        this.#state = "size";
        this.#remaining = 0;
        this.#digits = 0;
        this.#lineBytes = 0;
        return at;
      case "size":
      case "extension":
        for (; at < chunk.length; at++) {
          const byte = chunk[at]!;
          if (byte === cr) {
            if (this.#digits === 0) throw badChunk();
            this.#state = "size-lf";
            return at + 1;
          }
          if (++this.#lineBytes > maxLineBytes || byte === lf) throw badChunk();
          if (this.#state === "extension") continue;
          const digit = hexDigit(byte);
          if (digit !== -1) {
            if (++this.#digits > 12) throw badChunk();
            this.#remaining = this.#remaining * 16 + digit;
          } else if (this.#digits > 0 && (byte === 0x3b || byte === 0x20 || byte === 0x09)) {
            this.#state = "extension";
          } else throw badChunk();
        }
        return at;
      case "size-lf":
        if (chunk[at++] !== lf) throw badChunk();
        this.#state = this.#remaining === 0 ? "trailers" : "data";
        return at;
      case "trailers":
        return this.#readTrailers(chunk, at);
    }
  }

  #readTrailers(chunk: Buffer, start: number): number {
    const before = this.#trailers.length;
    this.#trailers += chunk.toString(
      "latin1",
      start,
      Math.min(chunk.length, start + maxTrailerBytes),
    );
    const text = this.#trailers;
    const bare = text.startsWith("\r\n");
    const end = bare ? 0 : text.indexOf("\r\n\r\n");
    if (end === -1) {
      if (text.length >= maxTrailerBytes) throw new Http1Error(431, "the trailers are too long");
      return chunk.length;
    }
    this.done = true;
    if (bare) this.#sink.onContent(nothing, true);
    else this.#sink.onContentTrailers(readFieldLines(text.slice(0, end), 0));
    return start + end + (bare ? 2 : 4) - before;
  }
}

/** What mostly follows the last data: its line end, a chunk of 0 bytes, and no trailers. */
const lastChunk = Buffer.from("\r\n0\r\n\r\n", "latin1");

function endsHere(chunk: Buffer, at: number): boolean {
  if (at + lastChunk.length > chunk.length) return false;
  for (let index = 0; index < lastChunk.length; index++) {
    if (chunk[at + index] !== lastChunk[index]) return false;
  }
  return true;
}

function hexDigit(byte: number): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const lower = byte | 0x20;
  return lower >= 0x61 && lower <= 0x66 ? lower - 0x57 : -1;
}

function badChunk(): Http1Error {
  return new Http1Error(400, "chunked content is not as RFC 9112 has it");
}
