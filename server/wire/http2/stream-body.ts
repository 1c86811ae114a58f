import { PeerGoneError } from "../request-signal.ts";
import type { Http2Stream } from "./http2-stream.ts";

const done: IteratorReturnResult<undefined> = { done: true, value: undefined };

/**
 * Content of a message as an async iterable. The peer's window opens as the reader takes it, so a
 * reader that stops stops the peer. It is read once, by one reader.
 */
export class StreamBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #stream: Http2Stream;
  #chunks: Uint8Array[] = [];
  #end: "open" | "ended" | "left" | Error = "open";
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | undefined;

  constructor(stream: Http2Stream) {
    this.#stream = stream;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    const chunk = this.#chunks.shift();
    if (chunk) {
      this.#stream.consume(chunk.byteLength);
      return Promise.resolve({ done: false, value: chunk });
    }
    const end = this.#end;
    if (end instanceof Error) return Promise.reject(end);
    if (end !== "open") return Promise.resolve(done);
    this.#waiting = Promise.withResolvers();
    return this.#waiting.promise;
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.leave();
    return Promise.resolve(done);
  }

  /** Nobody reads any more: what came is dropped, and what comes is too. */
  leave(): void {
    if (this.#end === "open") this.#finish("left");
    for (const chunk of this.#chunks) this.#stream.consume(chunk.byteLength);
    this.#chunks = [];
  }

  /** Content came. */
  push(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    if (this.#end !== "open") {
      this.#stream.consume(bytes.byteLength);
      return;
    }
    const waiting = this.#waiting;
    if (!waiting) {
      this.#chunks.push(bytes);
      return;
    }
    this.#waiting = undefined;
    this.#stream.consume(bytes.byteLength);
    waiting.resolve({ done: false, value: bytes });
  }

  /** The content is whole. */
  end(): void {
    this.#finish("ended");
  }

  /** There will be no more of it. */
  fail(error: Error = new PeerGoneError()): void {
    this.#finish(error);
  }

  #finish(end: "ended" | "left" | Error): void {
    if (this.#end !== "open") return;
    this.#end = end;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) return;
    if (end instanceof Error) waiting.reject(end);
    else waiting.resolve(done);
  }
}
