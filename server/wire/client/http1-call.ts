import { type HeadText, headText } from "../http1/head-text.ts";
import type { Http1ResponseHead } from "../http1/read-head.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import type { OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { ForwardCall } from "./forward-channel.ts";
import type { Http1Channel } from "./http1-channel.ts";
import type { Http1ClientConnection } from "./http1-client-connection.ts";
import type { WireCallReceiver, WireRequest } from "./wire-call.ts";
import type { WireCallError } from "./wire-call-error.ts";

/** Methods that may be sent twice (RFC 9110, section 9.2.2). */
const idempotent = new Set(["GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"]);

/** Bytes that wait for a connection before the owner is told to wait. */
const waitingHighWater = 64 * 1024;

/** One request over HTTP/1.1 and its answer, on one connection or, if that was closed, on two in turn. */
export class Http1Call implements ForwardCall {
  readonly request: WireRequest;
  readonly receiver: WireCallReceiver;
  readonly head: HeadText;
  readonly #channel: Http1Channel;
  #connection: Http1ClientConnection | undefined = undefined;
  #state: "waiting" | "open" | "over" = "waiting";
  /** Content that waits for a connection, or may have to be sent again. */
  #kept: Uint8Array[] = nothingKept;
  #keptBytes = 0;
  #keeps = true;
  #ended: boolean;
  #trailers: readonly OutgoingField[] | undefined = undefined;
  #resent = false;
  #ownerWaits = false;
  #answered = false;

  constructor(channel: Http1Channel, request: WireRequest, receiver: WireCallReceiver) {
    this.#channel = channel;
    this.request = request;
    this.receiver = receiver;
    this.head = headText(request.template, request.fields);
    this.#ended = request.body !== undefined;
  }

  /** It has no content, and none will come. */
  get bare(): boolean {
    return this.#ended && this.#keptBytes === 0 && !this.#trailers?.length && this.#keeps;
  }

  /** The whole request was written. */
  get ended(): boolean {
    return this.#ended;
  }

  get over(): boolean {
    return this.#state === "over";
  }

  write(bytes: Uint8Array, endStream = false): boolean {
    if (this.#state === "over" || this.#ended) return true;
    this.#ended = endStream;
    const connection = this.#connection;
    if (this.#keeps && bytes.length > 0) {
      if (this.#kept === nothingKept) this.#kept = [];
      this.#kept.push(bytes);
      this.#keptBytes += bytes.length;
      if (connection && this.#keptBytes > this.#channel.settings.replayBytes) this.#drop();
    }
    const goesOn = connection
      ? connection.write(bytes, endStream)
      : this.#keptBytes < waitingHighWater;
    if (!goesOn) this.#ownerWaits = true;
    return goesOn;
  }

  end(trailers?: readonly OutgoingField[]): void {
    if (this.#state === "over" || this.#ended) return;
    this.#ended = true;
    this.#trailers = trailers;
    this.#connection?.end(trailers);
  }

  consume(bytes: number): void {
    if (this.#state === "open") this.#connection?.consume(bytes);
  }

  leave(): void {
    if (!this.#ended) this.cancel();
  }

  cancel(): void {
    if (this.#state === "over") return;
    const connection = this.#connection;
    this.#finish();
    // There is no other way to tell a server of HTTP/1.1 that nobody waits any more.
    connection?.abandon();
  }

  /** Fails in its own turn: by then the caller holds it. */
  failSoon(error: WireCallError): void {
    queueMicrotask(() => this.fail(error));
  }

  // For the connection.

  /** Its connection takes it: sends what there is. */
  openOn(connection: Http1ClientConnection): void {
    this.#state = "open";
    this.#connection = connection;
    connection.writeHead(this.head, this.bare);
    if (this.bare) return;
    let goesOn = true;
    for (const bytes of this.#kept) goesOn = connection.write(bytes, false);
    if (this.#ended) connection.end(this.#trailers);
    if (this.#keptBytes > this.#channel.settings.replayBytes) this.#drop();
    if (goesOn) this.onWritable();
  }

  onHead(head: Http1ResponseHead, endStream: boolean): void {
    if (head.status >= 200 || head.status === 101) this.#drop();
    if (endStream) this.#answered = true;
    this.receiver.onHead(head, endStream);
  }

  onData(bytes: Buffer, last: boolean): void {
    if (last) this.#answered = true;
    this.receiver.onData(bytes, last);
  }

  onTrailers(fields: readonly HeaderField[]): void {
    this.#answered = true;
    this.receiver.onTrailers(fields);
  }

  onWritable(): void {
    if (!this.#ownerWaits) return;
    this.#ownerWaits = false;
    if (this.#state !== "over") this.receiver.onWritable?.();
  }

  /** The answer is whole, and the connection serves others. */
  onAnswered(): void {
    this.#finish();
  }

  /**
   * The connection ended before the answer began.
   *
   * @param unsent - nothing of the request has left this process
   * @param reused - the connection had served another call: the server may have closed it for being idle
   * @returns true if the call is sent again
   */
  sendAgain(unsent: boolean, reused: boolean): boolean {
    if (this.#state !== "open" || this.#answered || !this.#keeps) return false;
    const { method = "POST" } = this.request;
    if (!unsent && !(reused && !this.#resent && idempotent.has(method))) return false;
    if (!unsent) this.#resent = true;
    this.#connection = undefined;
    this.#state = "waiting";
    this.#channel.again(this);
    return true;
  }

  fail(error: WireCallError): void {
    if (this.#state === "over") return;
    const answered = this.#answered;
    this.#finish();
    if (!answered) this.receiver.onFailure(error);
  }

  #drop(): void {
    this.#keeps = false;
    this.#kept = nothingKept;
    this.#keptBytes = 0;
  }

  #finish(): void {
    if (this.#state === "waiting") this.#channel.forget(this);
    this.#state = "over";
    this.#connection = undefined;
    this.#drop();
  }
}

/** Shared by calls that keep nothing. */
const nothingKept: Uint8Array[] = [];
