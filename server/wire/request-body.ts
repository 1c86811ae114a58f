import type { Readable } from "node:stream";
import { PeerGoneError } from "./request-signal.ts";

/** Bytes that are read ahead of whoever reads the body; then the peer has to wait. */
const readAheadBytes = 256 * 1024;

const done: IteratorReturnResult<undefined> = { done: true, value: undefined };

/** A stream that a request comes in on, and whether it ended before the request did. */
export interface RequestSource {
  readonly stream: Readable;
  /** Whether the stream's end is the peer's going away rather than the end of the request. */
  isCutShort(): boolean;
}

/**
 * Body of a request. Unlike Node's own iterator, it does not destroy the stream when its reader
 * leaves: the answer still has to go out on it. It is read once, by one reader.
 */
export class RequestBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #source: RequestSource;
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;
  #started = false;
  /** Why there is nothing more to come. */
  #end: "open" | "ended" | "left" | PeerGoneError = "open";
  #waiting: PromiseWithResolvers<IteratorResult<Uint8Array>> | undefined;

  constructor(source: RequestSource) {
    this.#source = source;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    if (!this.#started) this.#start();
    const chunk = this.#chunks.shift();
    if (chunk) {
      this.#bytes -= chunk.byteLength;
      if (this.#bytes < readAheadBytes && this.#end === "open") this.#source.stream.resume();
      return Promise.resolve({ done: false, value: chunk });
    }
    if (this.#end instanceof PeerGoneError) return Promise.reject(this.#end);
    if (this.#end !== "open") return Promise.resolve(done);
    this.#waiting = Promise.withResolvers();
    this.#source.stream.resume();
    return this.#waiting.promise;
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    if (this.#end === "open") {
      this.#finish("left");
      this.#source.stream.pause();
    }
    this.#chunks.length = 0;
    return Promise.resolve(done);
  }

  #start(): void {
    this.#started = true;
    const { stream } = this.#source;
    stream.on("data", this.#onData);
    stream.on("end", this.#onEnd);
    stream.on("close", this.#onClose);
    // A stream without a byte may have ended before anybody listened.
    if (stream.readableEnded) this.#onEnd();
    else if (stream.destroyed) this.#onClose();
  }

  readonly #onData = (chunk: Uint8Array): void => {
    const waiting = this.#waiting;
    if (waiting) {
      this.#waiting = undefined;
      waiting.resolve({ done: false, value: chunk });
      return;
    }
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#bytes >= readAheadBytes) this.#source.stream.pause();
  };

  readonly #onEnd = (): void => {
    this.#finish(this.#source.isCutShort() ? new PeerGoneError() : "ended");
  };

  readonly #onClose = (): void => {
    this.#finish(new PeerGoneError());
  };

  #finish(end: "ended" | "left" | PeerGoneError): void {
    if (this.#end !== "open") return;
    this.#end = end;
    const { stream } = this.#source;
    stream.off("data", this.#onData);
    stream.off("end", this.#onEnd);
    stream.off("close", this.#onClose);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (!waiting) return;
    if (end instanceof PeerGoneError) waiting.reject(end);
    else waiting.resolve(done);
  }
}
