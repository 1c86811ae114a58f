import { Code } from "@connectrpc/connect";
import { formatGrpcTimeout } from "../grpc/grpc-timeout.ts";
import { errorCode } from "../http2/frame.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import type { HeaderTemplate, OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { Http2Stream, StreamEnd, StreamReceiver } from "../http2/http2-stream.ts";
import type { ResponseHead } from "../http2/message-head.ts";
import { deadlineWheel, WheelTimer } from "../timer-wheel.ts";
import type { PooledConnection } from "./pooled-connection.ts";
import { codeOfReset, nameOfHttp2Code, WireCallError } from "./wire-call-error.ts";

/** A request, and how it is to be made. Resolved at once: the call does not look at defaults again. */
export interface WireRequest {
  /** `/package.Service/Method`, or any other path. */
  readonly path: string;
  /** Default POST. */
  readonly method?: string;
  /** Default the channel's. */
  readonly authority?: string;
  /** The whole head, pseudo-header fields first; then path, method and authority are not looked at. */
  readonly template?: HeaderTemplate;
  /** Fields behind the pseudo-header fields, or behind the template. Lower-case names. */
  readonly fields?: readonly OutgoingField[];
  /** The whole content. `none` ends the request with its head. Without it {@link WireCall.write} is used. */
  readonly body?: "none" | Uint8Array;
  /** The whole content as one gRPC message, without its prefix. */
  readonly message?: Uint8Array | readonly Uint8Array[];
  /** Time from now on after which the call fails, in ms; a stream is reset with CANCEL then. */
  readonly deadlineMs?: number;
  /** Whether what is left of that time is sent as `grpc-timeout`. Default true. */
  readonly sendTimeout?: boolean;
  /** Cancels the call with RST_STREAM CANCEL. */
  readonly signal?: AbortSignal;
  /** Waits while the server cannot be reached, instead of failing. Default false. */
  readonly waitForReady?: boolean;
}

/** What a call tells its owner; from the read loop of a socket, so do not block. */
export interface WireCallReceiver {
  /** A head; those with a status below 200 are informational, and more than one may come. */
  onHead(head: ResponseHead, endStream: boolean): void;
  /**
   * Content. The bytes stay as they are. The server's window opens again by {@link WireCall.consume},
   * also for what the owner does not want.
   */
  onData(bytes: Buffer, endStream: boolean): void;
  /** Trailers; the answer is whole. */
  onTrailers(fields: readonly HeaderField[]): void;
  /** What was written has left, after {@link WireCall.write} said to wait. */
  onWritable?(): void;
  /** The answer will not become whole. The last that is called; not after {@link WireCall.cancel}. */
  onFailure(error: WireCallError): void;
}

/** Whoever finds a stream for calls. */
export interface CallHost {
  readonly targetName: string;
  readonly scheme: "http" | "https";
  readonly authority: string;
  readonly replayBytes: number;
  /** What calls fail with whose streams end because the host was destroyed. */
  readonly destroyed: WireCallError | undefined;
  /** Why no stream could be had lately, for messages. */
  readonly lastFailure: Error | undefined;
  /** A call that waits does no longer want a stream. */
  forget(call: WireCall): void;
  /** A call that the server did not process wants another stream. */
  again(call: WireCall): void;
  /** A call is over. */
  onOver(): void;
}

/** Bytes that wait for a stream before the owner is told to wait. */
const waitingHighWater = 64 * 1024;

/** Shared by calls that keep nothing. */
const nothingKept: Uint8Array[] = [];

/** One request and its answer, on one stream or, if the server did not process it, on several in turn. */
export class WireCall extends WheelTimer implements StreamReceiver {
  readonly request: WireRequest;
  /** Grows from call to call of a channel. */
  readonly order: number;
  /** Links of those that wait, for {@link WaitingCalls}: who came before, and who after. */
  waitsAfter: WireCall | undefined = undefined;
  waitsBefore: WireCall | undefined = undefined;
  readonly #host: CallHost;
  readonly #receiver: WireCallReceiver;
  #state: "waiting" | "open" | "over" = "waiting";
  #stream: Http2Stream | undefined = undefined;
  #connection: PooledConnection | undefined = undefined;
  /** By performance.now(); infinite without one. */
  readonly #deadlineAt: number;
  /** Content that may have to be sent again, or for the first time when there is a stream. */
  #kept: Uint8Array[] = nothingKept;
  #keptBytes = 0;
  #keeps = true;
  #ended = false;
  #trailers: readonly OutgoingField[] | undefined = undefined;
  #ownerWaits = false;
  /** Flushes of the connection before the stream was opened: no more means that nothing left. */
  #flushes = 0;
  /** The server has seen the call once and not processed it. */
  #resent = false;
  /** The answer has begun, and is whole. */
  #answerBegun = false;
  #answered = false;
  #cancelled = false;

  constructor(host: CallHost, request: WireRequest, receiver: WireCallReceiver, order: number) {
    super();
    this.order = order;
    this.#host = host;
    this.request = request;
    this.#receiver = receiver;
    const { deadlineMs, signal, body, message } = request;
    this.#ended = body !== undefined || message !== undefined;
    if (deadlineMs !== undefined && deadlineMs < Number.POSITIVE_INFINITY) {
      this.#deadlineAt = performance.now() + deadlineMs;
      deadlineWheel.arm(this, deadlineMs);
    } else this.#deadlineAt = Number.POSITIVE_INFINITY;
    signal?.addEventListener("abort", this);
  }

  /** The stream that the call is on; `undefined` while it waits. */
  get stream(): Http2Stream | undefined {
    return this.#stream;
  }

  get waits(): boolean {
    return this.#state === "waiting";
  }

  /** Nothing more will come: it was answered, failed or cancelled. */
  get over(): boolean {
    return this.#state === "over";
  }

  /**
   * Sends content. The bytes must stay as they are until they are sent, and up to the channel's
   * `replayBytes` of them until the answer begins.
   *
   * @returns false when the owner should wait for {@link WireCallReceiver.onWritable}
   */
  write(bytes: Uint8Array, endStream = false): boolean {
    if (this.#state === "over" || this.#ended) return true;
    this.#ended = endStream;
    const stream = this.#stream;
    if (this.#keeps) this.#keep(bytes, stream);
    const goesOn = stream ? stream.write(bytes, endStream) : this.#keptBytes < waitingHighWater;
    if (!goesOn) this.#ownerWaits = true;
    return goesOn;
  }

  /** Ends the content, with trailers if there are any. */
  end(trailers?: readonly OutgoingField[]): void {
    if (this.#state === "over" || this.#ended) return;
    this.#ended = true;
    this.#trailers = trailers;
    this.#stream?.end(undefined, trailers);
  }

  /** Bytes of the answer were taken in: the server may send as many again. */
  consume(bytes: number): void {
    this.#stream?.consume(bytes);
  }

  /** The answer is whole and its owner needs no more: a request that has not ended is left at that. */
  leave(): void {
    // A stream that both sides have ended closes by itself.
    if (this.#stream && !this.#stream.localEnded) this.cancel(errorCode.noError);
  }

  /**
   * Ends the call. The receiver is not told.
   *
   * @param code - of RST_STREAM
   */
  cancel(code: number = errorCode.cancel): void {
    this.#cancelled = true;
    if (this.#state === "over") return;
    const stream = this.#stream;
    this.#finish();
    stream?.reset(code);
  }

  // For the host.

  /** Sends the request. The connection must have a free stream. */
  openOn(connection: PooledConnection): void {
    const { request } = this;
    const { body, message } = request;
    this.#state = "open";
    this.#connection = connection;
    this.#flushes = connection.http2.output.flushes;
    const noContent = body === "none" || (this.#ended && this.#endsBare());
    const stream = connection.http2.open(request.template, this.#fields(), noContent, this);
    this.#stream = stream;
    if (noContent) return;
    let goesOn = true;
    if (message !== undefined) stream.writeMessage(message, true);
    else if (body instanceof Uint8Array) stream.write(body, true);
    else goesOn = this.#replay(stream);
    if (goesOn && this.#ownerWaits) this.onWritable();
  }

  /** Ends the call by what happened outside of its stream. */
  fail(error: WireCallError): void {
    if (this.#state === "over") return;
    const stream = this.#stream;
    const answered = this.#answered;
    this.#finish();
    stream?.reset(errorCode.cancel);
    if (!answered) this.#receiver.onFailure(error);
  }

  /** Ends a call that never waited, in its own turn: by then the caller holds it. */
  refuse(error: WireCallError): void {
    this.#end();
    queueMicrotask(() => {
      if (!this.#cancelled) this.#receiver.onFailure(error);
    });
  }

  /** The deadline has passed. */
  override fire(): void {
    if (this.#state !== "over") this.fail(this.#tooLate());
  }

  /** The signal was aborted. */
  handleEvent(): void {
    const { reason } = this.request.signal!;
    const message = reason instanceof Error ? reason.message : String(reason);
    this.fail(
      new WireCallError(
        "cancelled",
        Code.Canceled,
        `the call was cancelled by its signal: ${message}`,
        errorCode.cancel,
        reason,
      ),
    );
  }

  // The request.

  /** Content that ends without a byte and without trailers goes with the head. */
  #endsBare(): boolean {
    const { body, message } = this.request;
    if (body !== undefined || message !== undefined) return false;
    return this.#keptBytes === 0 && (this.#trailers === undefined || this.#trailers.length === 0);
  }

  #fields(): readonly OutgoingField[] | undefined {
    const { request } = this;
    const timeout =
      this.#deadlineAt !== Number.POSITIVE_INFINITY && request.sendTimeout !== false
        ? formatGrpcTimeout(this.#deadlineAt - performance.now())
        : undefined;
    if (request.template) {
      if (timeout === undefined) return request.fields;
      return [...(request.fields ?? []), ["grpc-timeout", timeout]];
    }
    const host = this.#host;
    const fields: OutgoingField[] = [
      [":method", request.method ?? "POST"],
      [":scheme", host.scheme],
      [":path", request.path],
      [":authority", request.authority ?? host.authority],
    ];
    if (request.fields) fields.push(...request.fields);
    if (timeout !== undefined) fields.push(["grpc-timeout", timeout]);
    return fields;
  }

  #keep(bytes: Uint8Array, stream: Http2Stream | undefined): void {
    if (this.#kept === nothingKept) this.#kept = [];
    this.#kept.push(bytes);
    this.#keptBytes += bytes.byteLength;
    // What waits for its first stream is kept whatever its size.
    if (stream && this.#keptBytes > this.#host.replayBytes) this.#drop();
  }

  #drop(): void {
    this.#keeps = false;
    this.#kept = nothingKept;
    this.#keptBytes = 0;
  }

  /** Sends what was written so far; false if the owner has to wait. */
  #replay(stream: Http2Stream): boolean {
    const kept = this.#kept;
    const ends = this.#ended && (this.#trailers === undefined || this.#trailers.length === 0);
    let goesOn = true;
    for (let index = 0; index < kept.length; index++) {
      goesOn = stream.write(kept[index]!, ends && index === kept.length - 1);
    }
    if (this.#ended && !(ends && kept.length > 0)) stream.end(undefined, this.#trailers);
    if (this.#keptBytes > this.#host.replayBytes) this.#drop();
    return goesOn;
  }

  // What the stream tells.

  onHead(head: ResponseHead, endStream: boolean): void {
    if (this.#state === "over") return;
    if (head.status >= 200) {
      this.#answerBegun = true;
      this.#drop();
      if (endStream) this.#onAnswered();
    }
    this.#receiver.onHead(head, endStream);
  }

  onData(bytes: Buffer, endStream: boolean): void {
    if (this.#state === "over") {
      this.#stream?.consume(bytes.byteLength);
      return;
    }
    if (endStream) this.#onAnswered();
    this.#receiver.onData(bytes, endStream);
  }

  onTrailers(fields: readonly HeaderField[]): void {
    if (this.#state === "over") return;
    this.#onAnswered();
    this.#receiver.onTrailers(fields);
  }

  onWritable(): void {
    this.#ownerWaits = false;
    if (this.#state !== "over") this.#receiver.onWritable?.();
  }

  onClosed(): void {
    // An early end is told by onEnd, which follows.
    if (this.#answered) this.#finish();
  }

  onEnd(end: StreamEnd): void {
    if (this.#state === "over") return;
    const connection = this.#connection!;
    const unsent = connection.http2.output.flushes === this.#flushes;
    const unseen = end.by === "connection" && unsent;
    if (
      !this.#host.destroyed &&
      (unseen || (end.unprocessed && !this.#resent)) &&
      this.#mayBeSentAgain()
    ) {
      if (!unseen) this.#resent = true;
      this.#stream = undefined;
      this.#connection = undefined;
      this.#state = "waiting";
      this.#host.again(this);
      return;
    }
    const error = this.#errorOf(end, connection);
    this.#finish();
    this.#receiver.onFailure(error);
  }

  #mayBeSentAgain(): boolean {
    if (this.#answerBegun) return false;
    return this.request.body !== undefined || this.request.message !== undefined || this.#keeps;
  }

  #onAnswered(): void {
    this.#answered = true;
    deadlineWheel.disarm(this);
  }

  #finish(): void {
    if (this.#state === "over") return;
    if (this.#state === "waiting") this.#host.forget(this);
    this.#end();
  }

  #end(): void {
    this.#state = "over";
    deadlineWheel.disarm(this);
    this.request.signal?.removeEventListener("abort", this);
    this.#drop();
    this.#host.onOver();
  }

  // Errors.

  #tooLate(): WireCallError {
    const { targetName, lastFailure } = this.#host;
    const { deadlineMs } = this.request;
    const where =
      this.#state === "waiting"
        ? `while it waited for a connection to ${targetName}${lastFailure ? ` (${lastFailure.message})` : ""}`
        : this.#answerBegun
          ? `before the answer of ${targetName} was whole`
          : `before ${targetName} answered`;
    return new WireCallError(
      "deadline",
      Code.DeadlineExceeded,
      `the deadline of ${Math.round(deadlineMs ?? 0)} ms passed ${where}`,
    );
  }

  #errorOf(end: StreamEnd, connection: PooledConnection): WireCallError {
    const { targetName } = this.#host;
    const { code, by, unprocessed, message } = end;
    if (this.#host.destroyed) return this.#host.destroyed;
    if (by === "connection") {
      const cause = connection.socketError;
      const why = cause ? ` (${cause.message})` : "";
      return new WireCallError(
        "lost",
        Code.Unavailable,
        `the connection to ${targetName} was lost before the answer was whole${why}`,
        code,
        cause,
      );
    }
    if (by === "local") {
      return new WireCallError(
        "protocol",
        Code.Internal,
        `the answer of ${targetName} was refused: ${message}`,
        code,
      );
    }
    // Both sides count the same deadline; the server's clock was first.
    if (code === errorCode.cancel && performance.now() >= this.#deadlineAt) return this.#tooLate();
    if (unprocessed) {
      return new WireCallError(
        "reset",
        Code.Unavailable,
        `${targetName} did not process the call: ${message}; call again`,
        errorCode.refusedStream,
      );
    }
    return new WireCallError(
      "reset",
      codeOfReset(code),
      `${targetName} reset the call with ${nameOfHttp2Code(code)}`,
      code,
    );
  }
}
