import { connect, type Socket } from "node:net";
import { Code } from "@connectrpc/connect";
import { ContentReader, type ContentSink } from "../http1/content-reader.ts";
import { HeadFinder } from "../http1/head-finder.ts";
import { fieldLines, type HeadText } from "../http1/head-text.ts";
import { Http1Error } from "../http1/http1-error.ts";
import { type ContentEnd, type Http1ResponseHead, readResponseHead } from "../http1/read-head.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import type { OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import { OutputBuffer } from "../http2/output-buffer.ts";
import { WheelTimer, watchWheel } from "../timer-wheel.ts";
import { cannotReach } from "./dial.ts";
import type { Http1Call } from "./http1-call.ts";
import type { Http1Channel } from "./http1-channel.ts";
import { WireCallError } from "./wire-call-error.ts";

/** Bytes of an answer that its owner has not taken, beyond which the socket is not read. */
const heldHighWater = 256 * 1024;

const nothing = Buffer.alloc(0);

/** One connection to a server of HTTP/1.1, for one call after the other. */
export class Http1ClientConnection extends WheelTimer implements ContentSink {
  readonly #channel: Http1Channel;
  readonly #socket: Socket;
  readonly #output: OutputBuffer;
  readonly #heads: HeadFinder<Http1ResponseHead>;
  readonly #content: ContentReader;
  #call: Http1Call | undefined = undefined;
  #rest: Buffer = nothing;
  #state: "connecting" | "idle" | "head" | "content" | "raw" | "closed" = "connecting";
  #chunked = false;
  #requestEnded = true;
  #persists = true;
  #keepAliveMs = Number.POSITIVE_INFINITY;
  #served = 0;
  #heldBytes = 0;
  #paused = false;
  #ownerWaits = false;
  #flushes = 0;
  #socketError: Error | undefined = undefined;
  #gone = false;

  constructor(channel: Http1Channel) {
    super();
    this.#channel = channel;
    const { target, connectTimeoutMs, maxHeaderBytes } = channel.settings;
    const where = "unix" in target ? { path: target.unix } : target;
    this.#socket = connect({ ...where, noDelay: true });
    this.#output = new OutputBuffer(this.#socket, () => this.#onDrained());
    this.#heads = new HeadFinder(readResponseHead, maxHeaderBytes);
    this.#content = new ContentReader(this);
    this.#socket.on("error", this.#onSocketError);
    this.#socket.on("close", this.#onSocketClose);
    this.#socket.once("connect", this.#onConnect);
    watchWheel.arm(this, connectTimeoutMs);
  }

  /** It takes a call. */
  get usable(): boolean {
    return this.#state === "idle" && !this.#socket.destroyed && !this.#socket.readableEnded;
  }

  send(call: Http1Call): void {
    watchWheel.disarm(this);
    this.#call = call;
    this.#state = "head";
    this.#persists = true;
    this.#requestEnded = false;
    this.#flushes = this.#output.flushes;
    call.openOn(this);
  }

  destroy(): void {
    this.#socket.destroy();
  }

  // For the call.

  writeHead(head: HeadText, bare: boolean): void {
    this.#chunked = !bare && !head.saysLength && !head.upgrade;
    const framing = this.#chunked ? "Transfer-Encoding: chunked\r\n" : "";
    const upgrade = head.upgrade ? "Connection: Upgrade\r\n" : "";
    this.#output.writeText(`${head.text}${framing}${upgrade}\r\n`);
    if (bare) this.#onRequestEnd();
  }

  write(bytes: Uint8Array, last: boolean): boolean {
    const { length } = bytes;
    if (this.#chunked) {
      if (length > 0) {
        this.#output.writeText(`${length.toString(16)}\r\n`);
        this.#output.writeBytes(bytes);
        this.#output.writeText(last ? "\r\n0\r\n\r\n" : "\r\n");
      } else if (last) this.#output.writeText("0\r\n\r\n");
    } else this.#output.writeBytes(bytes);
    if (last) this.#onRequestEnd();
    if (this.#output.makeRoom()) return true;
    this.#ownerWaits = true;
    return false;
  }

  end(trailers: readonly OutgoingField[] | undefined): void {
    if (this.#chunked) this.#output.writeText(`0\r\n${fieldLines(trailers ?? [])}\r\n`);
    this.#onRequestEnd();
  }

  consume(bytes: number): void {
    this.#heldBytes -= bytes;
    if (!this.#paused || this.#heldBytes >= heldHighWater / 2) return;
    this.#paused = false;
    this.#socket.resume();
  }

  /** Nobody waits for the answer any more. */
  abandon(): void {
    this.#call = undefined;
    this.#socket.destroy();
  }

  #onRequestEnd(): void {
    this.#requestEnded = true;
    if (this.#state === "raw") this.#output.end();
  }

  #onDrained(): void {
    if (!this.#ownerWaits || !this.#output.hasRoom) return;
    this.#ownerWaits = false;
    this.#call?.onWritable();
  }

  // Reading.

  readonly #onConnect = (): void => {
    watchWheel.disarm(this);
    this.#state = "idle";
    this.#socket.on("data", this.#onData);
    this.#socket.on("end", this.#onEnd);
    this.#channel.onConnected(this);
    if (this.#state === "idle") this.#beIdle();
  };

  readonly #onData = (chunk: Buffer): void => {
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.#output.hold();
    try {
      while (this.#rest.length > 0 && this.#readOn());
    } catch (error) {
      if (!(error instanceof Http1Error)) throw error;
      this.#fail(this.#malformed(error.message));
    } finally {
      this.#output.release();
    }
    if (this.#heldBytes >= heldHighWater && !this.#paused) {
      this.#paused = true;
      this.#socket.pause();
    }
  };

  #readOn(): boolean {
    const bytes = this.#rest;
    switch (this.#state) {
      case "head":
        return this.#readHead(bytes);
      case "content": {
        this.#rest = nothing;
        const end = this.#content.read(bytes, 0);
        if (end < bytes.length && !this.#gone) this.#rest = bytes.subarray(end);
        return true;
      }
      case "raw":
        this.#rest = nothing;
        this.#heldBytes += bytes.length;
        this.#call?.onData(bytes, false);
        return false;
      case "connecting":
      case "idle":
        // Nothing was asked: whatever it means, it must not answer the next call.
        this.destroy();
        return false;
      case "closed":
        return false;
    }
  }

  #readHead(bytes: Buffer): boolean {
    const head = this.#heads.find(bytes, 0);
    if (head === undefined) return false;
    const { end } = this.#heads;
    this.#rest = end === bytes.length ? nothing : bytes.subarray(end);
    const call = this.#call!;
    if (head.status === 101) {
      if (!call.head.upgrade || head.upgrade === undefined) {
        throw new Http1Error(502, "it goes over to a protocol that it was not asked for");
      }
      this.#state = "raw";
      this.#persists = false;
      this.#socket.allowHalfOpen = true;
      call.onHead(head, false);
      if (this.#requestEnded) this.#output.end();
      return true;
    }
    if (head.status < 200) {
      call.onHead(head, false);
      return true;
    }
    if (call.head.upgrade) this.#requestEnded = true;
    if (!head.persists) this.#persists = false;
    this.#keepAliveMs = head.keepAliveMs ?? Number.POSITIVE_INFINITY;
    const contentEnd = contentEndOf(head, call.request.method ?? "POST");
    if (contentEnd === "close") this.#persists = false;
    this.#state = "content";
    this.#content.begin(contentEnd, head.contentLength);
    const bare = this.#content.done;
    call.onHead(head, bare);
    if (bare) this.#onAnswered();
    return true;
  }

  onContent(bytes: Buffer, last: boolean): void {
    const call = this.#call;
    if (!call) return;
    this.#heldBytes += bytes.length;
    call.onData(bytes, last);
    if (last) this.#onAnswered();
  }

  onContentTrailers(fields: readonly HeaderField[]): void {
    this.#call?.onTrailers(fields);
    this.#onAnswered();
  }

  /** The answer is whole. */
  #onAnswered(): void {
    const call = this.#call;
    if (!call) return;
    this.#call = undefined;
    this.#served++;
    const ended = this.#requestEnded;
    call.onAnswered();
    // A request that is not whole blocks the connection for all that follow.
    if (!ended || !this.#persists || this.#rest.length > 0) {
      this.destroy();
      return;
    }
    this.#heldBytes = 0;
    if (this.#paused) {
      this.#paused = false;
      this.#socket.resume();
    }
    this.#state = "idle";
    this.#channel.onFree(this);
    if (this.#state === "idle") this.#beIdle();
  }

  #beIdle(): void {
    // Well before the time at which the server says that it closes.
    const keepAlive = this.#keepAliveMs / 2;
    watchWheel.arm(this, Math.min(this.#channel.settings.idleTimeoutMs, keepAlive));
  }

  // The end.

  /** It took too long to connect, or was idle too long. */
  override fire(): void {
    if (this.#state === "connecting") {
      const { connectTimeoutMs } = this.#channel.settings;
      this.#socketError ??= Object.assign(
        new Error(`no connection came about within ${connectTimeoutMs} ms`),
        { code: "ETIMEDOUT" },
      );
    } else if (this.#state !== "idle") return;
    this.destroy();
  }

  #fail(error: WireCallError): void {
    const call = this.#call;
    this.#call = undefined;
    this.#state = "closed";
    this.#rest = nothing;
    this.#socket.destroy();
    call?.fail(error);
  }

  #malformed(message: string): WireCallError {
    return new WireCallError(
      "protocol",
      Code.Internal,
      `the answer of ${this.#channel.targetName} was refused: ${message}`,
    );
  }

  readonly #onSocketError = (error: Error): void => {
    this.#socketError = error;
  };

  readonly #onEnd = (): void => {
    const call = this.#call;
    if (this.#state === "raw" && call) {
      call.onData(nothing, true);
      return;
    }
    if (this.#state === "content" && this.#content.endsByClose()) {
      this.#content.done = true;
      this.onContent(nothing, true);
      return;
    }
    this.#socket.destroy();
  };

  readonly #onSocketClose = (): void => {
    if (this.#gone) return;
    this.#gone = true;
    watchWheel.disarm(this);
    this.#output.drop();
    const { targetName } = this.#channel;
    if (this.#state === "connecting") {
      this.#state = "closed";
      const error = this.#socketError ?? new Error("the peer closed the connection");
      this.#channel.onUnreachable(this, cannotReach(targetName, error));
      return;
    }
    const state = this.#state;
    const call = this.#call;
    this.#call = undefined;
    this.#state = "closed";
    if (call) {
      const unsent = this.#output.flushes === this.#flushes;
      const quiet = state === "head" && this.#rest.length === 0;
      if (!quiet || !call.sendAgain(unsent, this.#served > 0)) {
        const cause = this.#socketError;
        call.fail(
          new WireCallError(
            "lost",
            Code.Unavailable,
            `the connection to ${targetName} was lost before the answer was whole${cause ? ` (${cause.message})` : ""}`,
            undefined,
            cause,
          ),
        );
      }
    }
    this.#channel.onGone(this);
  };
}

/** Answers to HEAD, and with 204 or 304, end with their head. */
function contentEndOf(head: Http1ResponseHead, method: string): ContentEnd {
  if (method === "HEAD" || head.status === 204 || head.status === 304) return "none";
  return head.contentEnd;
}
