import type { CallerStream } from "../caller-stream.ts";
import { errorCode } from "../http2/frame.ts";
import type { HeaderTemplate, OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { StreamEnd, StreamReceiver } from "../http2/http2-stream.ts";
import { fieldLines, headText } from "./head-text.ts";
import type { Http1Connection } from "./http1-connection.ts";
import type { Http1RequestHead } from "./read-head.ts";

/** How the content of an answer is framed; `dropped`: it has none, whatever its owner writes. */
type Framing = "unknown" | "dropped" | "length" | "chunked" | "close" | "raw";

/** One request of an HTTP/1.1 connection and its answer. */
export class Http1Exchange implements CallerStream {
  receiver: StreamReceiver = unclaimed;
  closed = false;
  localEnded = false;
  /** The request has come whole. */
  remoteEnded = false;
  /** Bytes of the request that came and were not taken in yet. */
  heldBytes = 0;
  ownerWaits = false;
  readonly head: Http1RequestHead;
  readonly #connection: Http1Connection;
  #framing: Framing = "unknown";
  /** Bytes of content that are still to come, of an answer that has said how many. */
  #remaining = 0;

  constructor(connection: Http1Connection, head: Http1RequestHead) {
    this.#connection = connection;
    this.head = head;
  }

  /** Both sides speak another protocol from here on. */
  get raw(): boolean {
    return this.#framing === "raw";
  }

  sendHead(
    template: HeaderTemplate | undefined,
    fields: readonly OutgoingField[] | undefined,
    endStream: boolean,
  ): void {
    if (this.closed || this.localEnded || this.#framing !== "unknown") return;
    const { head } = this;
    const { output } = this.#connection;
    const outgoing = headText(template, fields);
    const status = Number(outgoing.text.slice(9, 12));
    if (status === 101 && outgoing.upgrade) {
      output.writeText(`${outgoing.text}Connection: Upgrade\r\n\r\n`);
      this.#framing = "raw";
      this.#connection.goRaw();
      return;
    }
    if (status < 200) {
      // HTTP/1.0 knows no informational answers.
      if (head.minor === 1) output.writeText(`${outgoing.text}\r\n`);
      return;
    }
    let framing: string | undefined;
    if (head.method === "HEAD" || status === 204 || status === 304) this.#framing = "dropped";
    else if (outgoing.saysLength) {
      this.#framing = "length";
      this.#remaining = outgoing.contentLength;
    } else if (endStream) {
      this.#framing = "length";
      framing = "Content-Length: 0\r\n";
    } else if (head.minor === 1) {
      this.#framing = "chunked";
      framing = "Transfer-Encoding: chunked\r\n";
    } else this.#framing = "close";
    // Content that is not read to its end would be taken for the next request.
    const persists = this.#framing !== "close" && this.#connection.mayPersist(this);
    if (!persists) this.#connection.closesAfter(this);
    // What the version does not say by itself.
    const connection = persists === (head.minor === 1) ? "" : persists ? keepsAlive : closes;
    output.writeText(`${outgoing.text}${framing ?? ""}${connection}\r\n`);
    if (endStream) this.#endLocal();
  }

  write(bytes: Uint8Array, endStream = false): boolean {
    if (this.closed || this.localEnded) return true;
    const { length } = bytes;
    const { output } = this.#connection;
    switch (this.#framing) {
      case "unknown":
      case "dropped":
        break;
      case "length":
        if (length > this.#remaining) {
          // The head is out: what does not fit it would be read as the next answer.
          this.reset(errorCode.internalError);
          this.receiver.onEnd(brokenAnswer);
          return true;
        }
        this.#remaining -= length;
        output.writeBytes(bytes);
        break;
      case "chunked":
        if (length > 0) {
          output.writeText(`${length.toString(16)}\r\n`);
          output.writeBytes(bytes);
          output.writeText(endStream ? "\r\n0\r\n\r\n" : "\r\n");
        } else if (endStream) output.writeText("0\r\n\r\n");
        break;
      case "close":
      case "raw":
        output.writeBytes(bytes);
        break;
    }
    if (endStream) this.#endLocal();
    if (this.closed || output.makeRoom()) return true;
    this.ownerWaits = true;
    return false;
  }

  end(template?: HeaderTemplate, fields?: readonly OutgoingField[]): void {
    if (this.closed || this.localEnded) return;
    if (this.#framing === "chunked") {
      const trailers = template?.fields ?? fields ?? [];
      this.#connection.output.writeText(`0\r\n${fieldLines(trailers)}\r\n`);
    }
    this.#endLocal();
  }

  consume(bytes: number): void {
    this.heldBytes -= bytes;
    if (!this.closed) this.#connection.onConsumed(this);
  }

  /** There is no other way to end an answer early in HTTP/1.1 than to end the connection. */
  reset(_code?: number): void {
    if (this.closed) return;
    this.closed = true;
    this.#connection.destroyAfterReset(this);
    this.receiver.onClosed?.();
  }

  // For the connection.

  close(): void {
    this.closed = true;
    this.receiver.onClosed?.();
  }

  fail(end: StreamEnd): void {
    if (this.closed) return;
    this.close();
    this.receiver.onEnd(end);
  }

  #endLocal(): void {
    this.localEnded = true;
    if (this.#framing === "length" && this.#remaining > 0) {
      // Its owner broke off: the caller must not take the next answer for the rest of this one.
      this.localEnded = false;
      this.reset();
      this.receiver.onEnd(brokenAnswer);
      return;
    }
    this.#connection.onLocalEnd(this);
  }
}

const keepsAlive = "Connection: keep-alive\r\n";
const closes = "Connection: close\r\n";

const brokenAnswer: StreamEnd = {
  code: errorCode.internalError,
  by: "local",
  unprocessed: false,
  message: "the answer has another length than its head says",
};

/** Receiver of an exchange before its owner has set one. */
const unclaimed: StreamReceiver = {
  onData() {},
  onTrailers() {},
  onEnd() {},
};
