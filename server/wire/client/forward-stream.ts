import { Code } from "@connectrpc/connect";
import { parseGrpcTimeout } from "../grpc/grpc-timeout.ts";
import { errorCode } from "../http2/frame.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import { HeaderTemplate } from "../http2/hpack/hpack-encoder.ts";
import type { Http2Stream, StreamEnd, StreamReceiver } from "../http2/http2-stream.ts";
import { fieldValue, type RequestHead, type ResponseHead } from "../http2/message-head.ts";
import {
  type CallerProtocol,
  callerProtocolOf,
  failureAnswer,
  failureTrailers,
  httpStatusOf,
  resetForCaller,
} from "./forward-failure.ts";
import {
  forwardedFields,
  forwardedResponseFields,
  KnownAnswers,
  type OutgoingHead,
  outgoingRequest,
} from "./forwarded-heads.ts";
import type { WireCall, WireCallReceiver } from "./wire-call.ts";
import { WireCallError } from "./wire-call-error.ts";
import type { WireChannel } from "./wire-channel.ts";

/** How a stream is forwarded. */
export interface ForwardOptions {
  /**
   * Head that the server gets, pseudo-header fields first; begin with {@link forwardedRequestFields}. A
   * template pays if the same fields are sent again and again. Default: as it came.
   */
  readonly rewriteHead?: (head: RequestHead) => OutgoingHead;
  /** Head that the caller gets, `:status` first. Not asked for informational heads. Default: as it came. */
  readonly rewriteResponseHead?: (head: ResponseHead) => OutgoingHead;
  /** Waits while the server cannot be reached, instead of answering UNAVAILABLE. Default false. */
  readonly waitForReady?: boolean;
  /** Called once, when the caller's stream is closed. */
  readonly onEnd?: (outcome: ForwardOutcome) => void;
}

/** How forwarding ended, for metrics. */
export interface ForwardOutcome {
  /**
   * `answered`: the caller has the server's whole answer. `failed`: the server gave none, and the caller
   * was told. `cancelled`: the caller went away.
   */
  readonly kind: "answered" | "failed" | "cancelled";
  /** HTTP status that the caller was sent; `undefined` if none was. */
  readonly status: number | undefined;
  /** `grpc-status` that the caller was sent, if the call is one of gRPC and came so far. */
  readonly grpcStatus: number | undefined;
  /** Bytes of content that came from the caller, and from the server. */
  readonly requestBytes: number;
  readonly responseBytes: number;
  /** Why it failed. */
  readonly error: WireCallError | undefined;
}

/**
 * Forwards a request to a channel and its answer back, frame by frame: DATA is passed on as it comes and
 * never decoded, trailers and half-closes stay what they are, and either side is read only as fast as the
 * other one takes it. A `grpc-timeout` is kept: at the deadline the server's stream is reset, and the
 * caller gets DEADLINE_EXCEEDED.
 *
 * @param incoming - stream of the caller, whose head has come; its receiver is set here
 * @param endStream - the request has no content
 */
export function forwardStream(
  incoming: Http2Stream,
  head: RequestHead,
  endStream: boolean,
  channel: WireChannel,
  options: ForwardOptions = {},
): void {
  const forwarded = new ForwardedStream(incoming, head, channel, options);
  incoming.receiver = new RequestSide(forwarded);
  forwarded.begin(endStream);
}

/** What a caller sends, for {@link ForwardedStream}. */
class RequestSide implements StreamReceiver {
  readonly #forwarded: ForwardedStream;

  constructor(forwarded: ForwardedStream) {
    this.#forwarded = forwarded;
  }

  onData(bytes: Buffer, endStream: boolean): void {
    this.#forwarded.onRequestData(bytes, endStream);
  }

  onTrailers(fields: readonly HeaderField[]): void {
    this.#forwarded.onRequestTrailers(fields);
  }

  onWritable(): void {
    this.#forwarded.onCallerWritable();
  }

  onEnd(end: StreamEnd): void {
    this.#forwarded.onCallerGone(end);
  }

  onClosed(): void {
    this.#forwarded.onCallerClosed();
  }
}

/** One request on its way to a server, and the answer on its way back. */
class ForwardedStream implements WireCallReceiver {
  readonly #incoming: Http2Stream;
  readonly #head: RequestHead;
  readonly #channel: WireChannel;
  readonly #options: ForwardOptions;
  readonly #protocol: CallerProtocol;
  readonly #answers: KnownAnswers;
  #call: WireCall | undefined;
  /** Bytes that came and that the other side has not taken yet. */
  #requestHeld = 0;
  #responseHeld = 0;
  #requestBytes = 0;
  #responseBytes = 0;
  #status: number | undefined;
  #grpcStatus: string | undefined;
  #error: WireCallError | undefined;
  #over = false;

  constructor(
    incoming: Http2Stream,
    head: RequestHead,
    channel: WireChannel,
    options: ForwardOptions,
  ) {
    this.#incoming = incoming;
    this.#head = head;
    this.#channel = channel;
    this.#options = options;
    this.#protocol = callerProtocolOf(head);
    this.#answers = answersOf(channel);
  }

  begin(endStream: boolean): void {
    const head = this.#head;
    if (head.method === "CONNECT") {
      this.onFailure(
        new WireCallError(
          "protocol",
          Code.Unimplemented,
          "CONNECT is not forwarded; send requests",
        ),
      );
      return;
    }
    const { rewriteHead, waitForReady } = this.#options;
    const outgoing = rewriteHead ? rewriteHead(head) : outgoingRequest(head, this.#channel);
    const timeout = this.#protocol === "http" ? undefined : head.get("grpc-timeout");
    const deadlineMs = timeout === undefined ? undefined : parseGrpcTimeout(timeout);
    const whole = outgoing instanceof HeaderTemplate;
    this.#call = this.#channel.call(
      {
        path: head.path,
        template: whole ? outgoing : noTemplate,
        // The caller's own header goes with the others; the timer here is what keeps the deadline.
        sendTimeout: false,
        ...(whole ? {} : { fields: outgoing }),
        ...(endStream ? { body: "none" } : {}),
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
        ...(waitForReady === undefined ? {} : { waitForReady }),
      },
      this,
    );
  }

  // From the caller.

  onRequestData(bytes: Buffer, endStream: boolean): void {
    const { length } = bytes;
    this.#requestBytes += length;
    this.#requestHeld += length;
    const call = this.#call;
    if (!call || call.write(bytes, endStream)) this.onWritable();
  }

  onRequestTrailers(fields: readonly HeaderField[]): void {
    this.#call?.end(forwardedFields(fields));
  }

  /** The server takes more. */
  onWritable(): void {
    const held = this.#requestHeld;
    if (held === 0) return;
    this.#requestHeld = 0;
    this.#incoming.consume(held);
  }

  /** The caller reset its stream, or its connection was lost. */
  onCallerGone({ by, code }: StreamEnd): void {
    const passes = by === "peer" && code === errorCode.internalError;
    this.#finish(this.#error ? "failed" : "cancelled", passes ? code : errorCode.cancel);
  }

  onCallerClosed(): void {
    // An early end is told by onCallerGone, which follows.
    if (this.#error) this.#finish("failed", errorCode.cancel);
    else if (this.#incoming.localEnded) this.#finish("answered", errorCode.cancel);
  }

  // From the server.

  onHead(head: ResponseHead, endStream: boolean): void {
    const incoming = this.#incoming;
    if (head.status < 200) {
      incoming.sendHead(undefined, forwardedResponseFields(head), false);
      return;
    }
    this.#status = head.status;
    if (endStream) this.#grpcStatus = head.get("grpc-status");
    const { rewriteResponseHead } = this.#options;
    const outgoing = rewriteResponseHead
      ? rewriteResponseHead(head)
      : this.#answers.heads.outgoing(head);
    if (outgoing instanceof HeaderTemplate) incoming.sendHead(outgoing, undefined, endStream);
    else incoming.sendHead(undefined, outgoing, endStream);
  }

  onData(bytes: Buffer, endStream: boolean): void {
    const { length } = bytes;
    this.#responseBytes += length;
    this.#responseHeld += length;
    if (this.#incoming.write(bytes, endStream)) this.onCallerWritable();
  }

  onTrailers(fields: readonly HeaderField[]): void {
    this.#grpcStatus = fieldValue(fields, "grpc-status");
    const outgoing = this.#answers.trailers.outgoing(fields);
    if (outgoing instanceof HeaderTemplate) this.#incoming.end(outgoing);
    else this.#incoming.end(undefined, outgoing);
  }

  /** The caller takes more. */
  onCallerWritable(): void {
    const held = this.#responseHeld;
    if (held === 0) return;
    this.#responseHeld = 0;
    this.#call?.consume(held);
  }

  onFailure(error: WireCallError): void {
    this.#error = error;
    // What still comes of the request is read and dropped.
    this.onWritable();
    const incoming = this.#incoming;
    const begun = this.#status !== undefined;
    if (error.kind === "reset") {
      incoming.reset(resetForCaller(error.http2Code, begun));
    } else if (!begun) {
      const { fields, body } = failureAnswer(error, this.#protocol, this.#head);
      this.#status = this.#protocol === "http" ? httpStatusOf(error) : 200;
      if (this.#protocol !== "http") this.#grpcStatus = `${error.code}`;
      incoming.sendHead(undefined, fields, body === undefined);
      if (body) incoming.write(body, true);
    } else if (this.#protocol === "grpc") {
      this.#grpcStatus = `${error.code}`;
      incoming.end(undefined, failureTrailers(error));
    } else incoming.reset(errorCode.internalError);
  }

  #finish(kind: ForwardOutcome["kind"], code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.#call?.cancel(code);
    // The windows of both connections are theirs again, whatever became of the bytes.
    this.onWritable();
    this.onCallerWritable();
    this.#options.onEnd?.({
      kind,
      status: this.#status,
      grpcStatus: this.#grpcStatus === undefined ? undefined : Number(this.#grpcStatus),
      requestBytes: this.#requestBytes,
      responseBytes: this.#responseBytes,
      error: this.#error,
    });
  }
}

/** For requests whose whole head is in their fields. */
const noTemplate = new HeaderTemplate([]);

const knownAnswers = new WeakMap<WireChannel, KnownAnswers>();

function answersOf(channel: WireChannel): KnownAnswers {
  let known = knownAnswers.get(channel);
  if (!known) {
    known = new KnownAnswers();
    knownAnswers.set(channel, known);
  }
  return known;
}
