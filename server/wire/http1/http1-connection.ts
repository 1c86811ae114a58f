import type { Socket } from "node:net";
import { errorCode } from "../http2/frame.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import type { StreamEnd } from "../http2/http2-stream.ts";
import { OutputBuffer } from "../http2/output-buffer.ts";
import { WheelTimer, watchWheel } from "../timer-wheel.ts";
import type { WireRefusal } from "../wire-refusals.ts";
import { ContentReader, type ContentSink } from "./content-reader.ts";
import { HeadFinder } from "./head-finder.ts";
import { Http1Error } from "./http1-error.ts";
import { Http1Exchange } from "./http1-exchange.ts";
import { type Http1RequestHead, readRequestHead } from "./read-head.ts";

/** Bounds on what the peer of one connection can make us hold. */
export interface Http1Limits {
  /** Bytes of a head. */
  readonly maxHeaderListBytes: number;
  /** Time for a head that was begun, in ms. */
  readonly handshakeTimeoutMs: number;
  /** Time without a request, in ms. */
  readonly idleTimeoutMs: number;
  /** Time for which an answer may wait for a peer that takes nothing of it, in ms. */
  readonly stallTimeoutMs: number;
}

/** Whoever a connection works for. */
export interface Http1Owner {
  /** A request; sets the exchange's receiver. */
  onRequest(exchange: Http1Exchange, head: Http1RequestHead, endStream: boolean): void;
  /** A request began (1), or is over (-1). */
  onExchange(connection: Http1Connection, change: number): void;
  /** Something of the peer was refused. */
  onRefusal(refusal: WireRefusal, message: string): void;
  /** The socket is closed. */
  onClose(connection: Http1Connection): void;
}

/** Bytes of a request, or of requests that wait their turn, beyond which the socket is not read. */
const heldHighWater = 256 * 1024;
const waitingHighWater = 64 * 1024;
/** What is still read of a request that was answered, and for how long, before the connection is cut. */
const lingerBytes = 256 * 1024;
const lingerMs = 2_000;
/** Time for a caller to end its half of a connection of another protocol, when the server has. */
const halfOpenMs = 30_000;
const turnMs = 1_000;

const nothing = Buffer.alloc(0);

/**
 * One HTTP/1.1 connection of a caller (RFC 9112). One request is answered after the other; what comes of
 * the next one waits. Content is passed on as it comes, trailers as they are, and after 101 both sides
 * are connected as they are.
 */
export class Http1Connection extends WheelTimer implements ContentSink {
  readonly socket: Socket;
  readonly output: OutputBuffer;
  readonly #owner: Http1Owner;
  readonly #limits: Http1Limits;
  readonly #heads: HeadFinder<Http1RequestHead>;
  readonly #content: ContentReader;
  #exchange: Http1Exchange | undefined = undefined;
  /** What came and was not read yet. */
  #rest: Buffer = nothing;
  #reading = false;
  #paused = false;
  #closing = false;
  #draining = false;
  /** Bytes that were dropped of a request that was answered; -1 while none are dropped. */
  #dropped = -1;
  #closed = false;
  // For the watch.
  #sinceRead: number;
  #sinceIdle: number;
  #takenBytes = 0;
  #sinceTaken = 0;
  #closeAt = Number.POSITIVE_INFINITY;

  constructor(socket: Socket, limits: Http1Limits, owner: Http1Owner) {
    super();
    this.socket = socket;
    this.#limits = limits;
    this.#owner = owner;
    this.output = new OutputBuffer(socket, () => this.#onDrained());
    this.#heads = new HeadFinder(readRequestHead, limits.maxHeaderListBytes);
    this.#content = new ContentReader(this);
    this.#sinceRead = performance.now();
    this.#sinceIdle = this.#sinceRead;
    socket.on("data", this.#onData);
    socket.on("end", this.#onSocketEnd);
    socket.on("close", this.#onSocketClose);
    watchWheel.arm(this, turnMs);
  }

  /** A request is under way. */
  get busy(): boolean {
    return this.#exchange !== undefined;
  }

  /** Ends with the answer that is under way, or now. */
  drain(): void {
    this.#draining = true;
    if (!this.#exchange) this.#end();
  }

  // For exchanges.

  /** Whether another request may follow the answer whose head is written now. */
  mayPersist(exchange: Http1Exchange): boolean {
    return exchange.head.persists && !this.#draining && !this.#closing;
  }

  closesAfter(_exchange: Http1Exchange): void {
    this.#closing = true;
  }

  onConsumed(exchange: Http1Exchange): void {
    if (this.#paused && exchange.heldBytes < heldHighWater / 2) this.#resume();
  }

  /** The caller speaks another protocol from here on, as does whoever answers. */
  goRaw(): void {
    this.socket.allowHalfOpen = true;
    this.#closing = true;
    this.#read();
  }

  onLocalEnd(exchange: Http1Exchange): void {
    if (exchange.raw) {
      this.output.end();
      if (exchange.remoteEnded) this.#finish(exchange);
      else this.#closeAt = performance.now() + halfOpenMs;
      return;
    }
    // Whoever was not let go over to another protocol has sent its whole request.
    if (exchange.remoteEnded || this.#content.done) {
      this.#finish(exchange);
      return;
    }
    // The caller still sends what nobody reads. To close now could make the kernel drop the answer.
    this.#dropped = 0;
    this.#closing = true;
    this.#exchange = undefined;
    this.output.end();
    this.#closeAt = performance.now() + lingerMs;
    watchWheel.arm(this, lingerMs);
    this.#owner.onExchange(this, -1);
    exchange.close();
    this.#resume();
  }

  destroyAfterReset(exchange: Http1Exchange): void {
    if (this.#exchange === exchange) {
      this.#exchange = undefined;
      this.#owner.onExchange(this, -1);
    }
    this.output.flush();
    this.socket.destroy();
  }

  #finish(exchange: Http1Exchange): void {
    this.#exchange = undefined;
    this.#owner.onExchange(this, -1);
    exchange.close();
    if (this.#closing || this.#draining) this.#end();
    else {
      this.#sinceIdle = performance.now();
      this.#sinceRead = this.#sinceIdle;
      if (this.#paused) this.#resume();
      if (this.#rest.length > 0) this.#read();
    }
  }

  #end(): void {
    this.#closing = true;
    this.output.end();
    this.#closeAt = performance.now() + lingerMs;
    watchWheel.arm(this, lingerMs);
  }

  // Reading.

  readonly #onData = (chunk: Buffer): void => {
    if (this.#dropped >= 0) {
      this.#dropped += chunk.length;
      if (this.#dropped > lingerBytes) this.socket.destroy();
      return;
    }
    if (this.#rest.length === 0) this.#sinceRead = performance.now();
    this.#rest = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    this.output.hold();
    try {
      this.#read();
    } finally {
      this.output.release();
    }
  };

  #read(): void {
    // An answer that is written while a request is read leads back here.
    if (this.#reading) return;
    this.#reading = true;
    try {
      while (this.#rest.length > 0 && this.#readOn());
    } catch (error) {
      this.#refuse(error);
    } finally {
      this.#reading = false;
    }
    const exchange = this.#exchange;
    const held = exchange ? exchange.heldBytes >= heldHighWater : false;
    if (held || this.#rest.length > waitingHighWater) this.#pause();
  }

  /** Reads a head, or content; false if what is there has to wait. */
  #readOn(): boolean {
    const exchange = this.#exchange;
    if (!exchange) return this.#readHead();
    if (exchange.raw) {
      const bytes = this.#rest;
      this.#rest = nothing;
      exchange.heldBytes += bytes.length;
      exchange.receiver.onData(bytes, false);
      return false;
    }
    // With nothing left to read: the next request, or what is sent before 101.
    if (exchange.remoteEnded || this.#content.done) return false;
    const bytes = this.#rest;
    this.#rest = nothing;
    const end = this.#content.read(bytes, 0);
    if (end < bytes.length) this.#rest = bytes.subarray(end);
    return true;
  }

  #readHead(): boolean {
    if (this.#closing || this.#draining) {
      this.#rest = nothing;
      return false;
    }
    let bytes = this.#rest;
    // An empty line before a request is let pass (section 2.2).
    if (bytes[0] === 0x0d && bytes[1] === 0x0a) {
      bytes = bytes.subarray(2);
      this.#rest = bytes;
    }
    const head = this.#heads.find(bytes, 0);
    if (head === undefined) return false;
    const { end } = this.#heads;
    this.#rest = end === bytes.length ? nothing : bytes.subarray(end);
    this.#content.begin(head.contentEnd, head.contentLength);
    const exchange = new Http1Exchange(this, head);
    this.#exchange = exchange;
    const bare = this.#content.done;
    // What comes after a request to go over to another protocol is that protocol's, if it is granted.
    exchange.remoteEnded = bare && head.upgrade === undefined;
    this.#owner.onExchange(this, 1);
    this.#owner.onRequest(exchange, head, bare && head.upgrade === undefined);
    return this.#exchange === undefined || !bare;
  }

  onContent(bytes: Buffer, last: boolean): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    exchange.heldBytes += bytes.length;
    if (last) exchange.remoteEnded = true;
    exchange.receiver.onData(bytes, last);
    if (last && exchange.localEnded && !exchange.closed) this.#finish(exchange);
  }

  onContentTrailers(fields: readonly HeaderField[]): void {
    const exchange = this.#exchange;
    if (!exchange) return;
    exchange.remoteEnded = true;
    exchange.receiver.onTrailers(fields);
    if (exchange.localEnded && !exchange.closed) this.#finish(exchange);
  }

  #refuse(error: unknown): void {
    this.#rest = nothing;
    if (!(error instanceof Http1Error)) throw error;
    const { status, message } = error;
    const refusal =
      status === 431 ? "header-list-size" : status === 408 ? "header-timeout" : "protocol";
    this.#owner.onRefusal(refusal, message);
    const exchange = this.#exchange;
    if (exchange) {
      this.#exchange = undefined;
      this.#owner.onExchange(this, -1);
      exchange.fail({
        code: errorCode.protocolError,
        by: "local",
        unprocessed: false,
        message,
      });
      this.socket.destroy();
      return;
    }
    const body = `${message}\n`;
    this.output.writeText(
      `HTTP/1.1 ${status} ${reasons[status] ?? "Bad Request"}\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    this.#dropped = 0;
    this.#end();
  }

  #pause(): void {
    if (this.#paused) return;
    this.#paused = true;
    this.socket.pause();
  }

  #resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.socket.resume();
  }

  #onDrained(): void {
    const exchange = this.#exchange;
    if (!exchange?.ownerWaits || !this.output.hasRoom) return;
    exchange.ownerWaits = false;
    exchange.receiver.onWritable?.();
  }

  // The end.

  /** Once a second: what does not move. */
  override fire(): void {
    if (this.#closed) return;
    const now = performance.now();
    const { idleTimeoutMs, handshakeTimeoutMs, stallTimeoutMs } = this.#limits;
    if (now >= this.#closeAt) {
      this.socket.destroy();
      return;
    }
    if (!this.#exchange && !this.#closing) {
      if (this.#rest.length > 0) {
        if (now - this.#sinceRead >= handshakeTimeoutMs) {
          this.#refuse(new Http1Error(408, "the head of a request did not end in time"));
        }
      } else if (now - this.#sinceIdle >= idleTimeoutMs) this.#end();
    }
    const { pendingBytes, takenBytes } = this.output;
    if (pendingBytes === 0 || takenBytes !== this.#takenBytes) {
      this.#takenBytes = takenBytes;
      this.#sinceTaken = now;
    } else if (now - this.#sinceTaken >= stallTimeoutMs) {
      this.#owner.onRefusal("slow-read", "the socket is not read");
      this.socket.destroy();
      return;
    }
    watchWheel.arm(this, Math.min(turnMs, Math.max(1, this.#closeAt - now)));
  }

  readonly #onSocketEnd = (): void => {
    const exchange = this.#exchange;
    if (exchange?.raw) {
      exchange.remoteEnded = true;
      exchange.receiver.onData(nothing, true);
      if (exchange.localEnded && !exchange.closed) this.#finish(exchange);
      return;
    }
    // A caller that half-closes has gone: nobody asks for an answer so.
    if (exchange) this.socket.destroy();
  };

  readonly #onSocketClose = (): void => {
    if (this.#closed) return;
    this.#closed = true;
    watchWheel.disarm(this);
    this.output.drop();
    const exchange = this.#exchange;
    this.#exchange = undefined;
    if (exchange) {
      this.#owner.onExchange(this, -1);
      exchange.fail(gone);
    }
    this.#owner.onClose(this);
  };
}

const gone: StreamEnd = {
  code: errorCode.cancel,
  by: "connection",
  unprocessed: false,
  message: "the connection was lost",
};

const reasons: Readonly<Record<number, string>> = {
  400: "Bad Request",
  408: "Request Timeout",
  431: "Request Header Fields Too Large",
  501: "Not Implemented",
  505: "HTTP Version Not Supported",
};
