import { Code } from "@connectrpc/connect";
import type { CallerStream } from "../caller-stream.ts";
import { parseGrpcTimeout } from "../grpc/grpc-timeout.ts";
import { errorCode } from "../http2/frame.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import { HeaderTemplate, type OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { StreamEnd, StreamReceiver } from "../http2/http2-stream.ts";
import { fieldValue, type RequestHead, type ResponseHead } from "../http2/message-head.ts";
import { deadlineWheel, type TimerWheel, WheelTimer } from "../timer-wheel.ts";
import type { ForwardCall, ForwardChannel } from "./forward-channel.ts";
import {
  type CallerProtocol,
  callerProtocolOf,
  type FailureAnswer,
  failureAnswer,
  failureTrailers,
  resetForCaller,
} from "./forward-failure.ts";
import {
  forwardedFields,
  forwardedResponseFields,
  KnownAnswers,
  type OutgoingHead,
  outgoingRequest,
} from "./forwarded-heads.ts";
import type { WireCallReceiver } from "./wire-call.ts";
import { WireCallError } from "./wire-call-error.ts";

/**
 * How forwarding ended.
 *
 * - `answered`: the caller has the server's whole answer
 * - `failed`: the server gave none, or not a whole one, and the caller was told
 * - `cancelled`: the caller went away
 */
export type ForwardEnd = "answered" | "failed" | "cancelled";

/** What a caller sends, for a {@link ForwardedStream}. */
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

/**
 * One request on its way to a server, and the answer on its way back, frame by frame: content is passed
 * on as it comes and never decoded, trailers and half-closes stay what they are, and either side is read
 * only as fast as the other one takes it. A `grpc-timeout` is kept: at the deadline the server's stream is
 * reset, and the caller gets DEADLINE_EXCEEDED.
 *
 * Proxies extend it: they may wait before {@link begin}, change heads, and answer themselves.
 */
export class ForwardedStream extends WheelTimer implements WireCallReceiver {
  readonly incoming: CallerStream;
  readonly head: RequestHead;
  readonly channel: ForwardChannel;
  readonly protocol: CallerProtocol;
  /** The request has no content. */
  readonly bare: boolean;
  /** Deadline that the caller has set, by performance.now(); infinite without one. */
  deadlineAt = Number.POSITIVE_INFINITY;
  readonly #answers: KnownAnswers;
  #call: ForwardCall | undefined = undefined;
  /** What came of the content before {@link begin}, and whether it ended there. */
  #early: Buffer[] = nothingEarly;
  #earlyEnded = false;
  #earlyTrailers: readonly HeaderField[] | undefined = undefined;
  /** Bytes that came and that the other side has not taken yet. */
  #requestHeld = 0;
  #responseHeld = 0;
  #requestBytes = 0;
  #responseBytes = 0;
  #status = 0;
  /** The head of the server's answer that has begun. */
  #response: ResponseHead | undefined = undefined;
  #grpcStatus: string | undefined = undefined;
  #error: WireCallError | undefined = undefined;
  /** The caller is answered here: what the server still says is dropped. */
  #concluded = false;
  #over = false;

  /**
   * @param incoming - stream of the caller, whose head has come; its receiver is set here
   * @param bare - the request has no content
   */
  constructor(incoming: CallerStream, head: RequestHead, bare: boolean, channel: ForwardChannel) {
    super();
    this.incoming = incoming;
    this.head = head;
    this.bare = bare;
    this.channel = channel;
    this.protocol = callerProtocolOf(head);
    this.#answers = answersOf(channel);
    incoming.receiver = new RequestSide(this);
  }

  // For proxies that extend it.

  /** Head that the server gets, pseudo-header fields first; a template pays if it is sent again. */
  outgoingHead(): OutgoingHead {
    return outgoingRequest(this.head, this.channel);
  }

  /** Head that the caller gets, `:status` first. Not asked for informational heads. */
  outgoingAnswer(head: ResponseHead): OutgoingHead {
    return this.#answers.heads.outgoing(head);
  }

  /** What the caller is answered whose server gave nothing. */
  answerTo(error: WireCallError): FailureAnswer {
    return failureAnswer(error, this.protocol, this.head);
  }

  /** Whether the call waits while the server cannot be reached. */
  get waitsForReady(): boolean | undefined {
    return undefined;
  }

  /** The wheel of the deadline. */
  get wheel(): TimerWheel {
    return deadlineWheel;
  }

  /** All is over; called once. */
  onOver(_end: ForwardEnd): void {}

  /** HTTP status that the caller was sent; 0 if none was. */
  get status(): number {
    return this.#status;
  }

  /** `grpc-status` that the caller was sent, if the call is one of gRPC and came so far. */
  get grpcStatus(): number | undefined {
    return this.#grpcStatus === undefined ? undefined : Number(this.#grpcStatus);
  }

  /** Bytes of content that came from the caller, and from the server. */
  get requestBytes(): number {
    return this.#requestBytes;
  }

  get responseBytes(): number {
    return this.#responseBytes;
  }

  /** Bytes of content that came and wait for {@link begin}. */
  get heldBytes(): number {
    return this.#requestHeld;
  }

  /** Why it failed. */
  get error(): WireCallError | undefined {
    return this.#error;
  }

  /** The caller is gone, or was answered to the end. */
  get over(): boolean {
    return this.#over;
  }

  /** The answer has begun. */
  get answering(): boolean {
    return this.#status !== 0;
  }

  /** Time until the deadline that the caller has set, in ms; `undefined` without one. */
  readTimeout(): number | undefined {
    if (this.protocol === "http") return undefined;
    const timeout = this.head.get("grpc-timeout");
    return timeout === undefined ? undefined : parseGrpcTimeout(timeout);
  }

  /** Sends the request to the server. */
  begin(): void {
    const { head } = this;
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
    this.armDeadline();
    const outgoing = this.outgoingHead();
    const whole = outgoing instanceof HeaderTemplate;
    const noContent = this.bare || (this.#earlyEnded && this.#endsBare());
    const { waitsForReady } = this;
    this.#call = this.channel.call(
      {
        method: head.method,
        path: head.path,
        template: whole ? outgoing : noTemplate,
        // The caller's own header goes with the others; the timer here is what keeps the deadline.
        sendTimeout: false,
        ...(whole ? {} : { fields: outgoing }),
        ...(noContent ? noBody : {}),
        ...(waitsForReady === undefined ? {} : { waitForReady: waitsForReady }),
      },
      this,
    );
    if (!noContent && (this.#early.length > 0 || this.#earlyEnded)) this.#sendEarly(this.#call);
  }

  /** Arms the timer for the deadline of the caller. */
  armDeadline(): void {
    const ms = this.readTimeout();
    if (ms === undefined) return;
    this.deadlineAt = performance.now() + ms;
    this.wheel.arm(this, ms);
  }

  /** The deadline has passed. */
  override fire(): void {
    if (this.#over || this.#error || this.incoming.localEnded) return;
    this.#call?.cancel();
    this.onFailure(this.tooLate());
  }

  tooLate(): WireCallError {
    const ms = Math.round(this.readTimeout() ?? 0);
    const where = this.answering
      ? `before the answer of ${this.channel.targetName} was whole`
      : `before ${this.channel.targetName} answered`;
    return new WireCallError(
      "deadline",
      Code.DeadlineExceeded,
      `the deadline of ${ms} ms passed ${where}`,
    );
  }

  /** Leaves the server, if it was asked; what it still says is dropped. */
  leaveServer(): void {
    this.#call?.cancel();
  }

  #endsBare(): boolean {
    return this.#early.length === 0 && (this.#earlyTrailers?.length ?? 0) === 0;
  }

  #sendEarly(call: ForwardCall): void {
    const early = this.#early;
    const ended = this.#earlyEnded;
    const trailers = this.#earlyTrailers;
    this.#early = nothingEarly;
    this.#earlyTrailers = undefined;
    const endsWithData = ended && trailers === undefined;
    let goesOn = true;
    for (let index = 0; index < early.length; index++) {
      goesOn = call.write(early[index]!, endsWithData && index === early.length - 1);
    }
    if (ended && !(endsWithData && early.length > 0)) {
      call.end(trailers ? forwardedFields(trailers) : undefined);
    }
    if (goesOn) this.onWritable();
  }

  // From the caller.

  onRequestData(bytes: Buffer, endStream: boolean): void {
    const { length } = bytes;
    this.#requestBytes += length;
    this.#requestHeld += length;
    const call = this.#call;
    if (call) {
      if (call.write(bytes, endStream)) this.onWritable();
    } else if (this.#error || this.#concluded) this.onWritable();
    else {
      if (this.#early === nothingEarly) this.#early = [];
      if (length > 0) this.#early.push(bytes);
      this.#earlyEnded = endStream;
    }
  }

  onRequestTrailers(fields: readonly HeaderField[]): void {
    if (this.#call) this.#call.end(forwardedFields(fields));
    else {
      this.#earlyTrailers = fields;
      this.#earlyEnded = true;
    }
  }

  /** The server takes more. */
  onWritable(): void {
    const held = this.#requestHeld;
    if (held === 0) return;
    this.#requestHeld = 0;
    this.incoming.consume(held);
  }

  /** The caller reset its stream, or its connection was lost. */
  onCallerGone({ by, code }: StreamEnd): void {
    const passes = by === "peer" && code === errorCode.internalError;
    this.#finish(this.#error ? "failed" : "cancelled", passes ? code : errorCode.cancel);
  }

  onCallerClosed(): void {
    // An early end is told by onCallerGone, which follows.
    if (this.#error) this.#finish("failed", errorCode.cancel);
    else if (this.incoming.localEnded) {
      this.#finish(this.#concluded ? "failed" : "answered", errorCode.cancel);
    }
  }

  // From the server.

  onHead(head: ResponseHead, endStream: boolean): void {
    const { incoming } = this;
    if (head.status < 200 && head.status !== 101) {
      incoming.sendHead(undefined, forwardedResponseFields(head), false);
      return;
    }
    this.#status = head.status;
    this.#response = head;
    if (endStream) this.#grpcStatus = head.get("grpc-status");
    const outgoing = this.outgoingAnswer(head);
    if (outgoing instanceof HeaderTemplate) incoming.sendHead(outgoing, undefined, endStream);
    else incoming.sendHead(undefined, outgoing, endStream);
  }

  onData(bytes: Buffer, endStream: boolean): void {
    const { length } = bytes;
    this.#responseBytes += length;
    this.#responseHeld += length;
    if (this.incoming.write(bytes, endStream)) this.onCallerWritable();
  }

  onTrailers(fields: readonly HeaderField[]): void {
    this.#grpcStatus = fieldValue(fields, "grpc-status");
    const outgoing = this.#answers.trailers.outgoing(fields);
    if (outgoing instanceof HeaderTemplate) this.incoming.end(outgoing);
    else this.incoming.end(undefined, outgoing);
  }

  /** The caller takes more. */
  onCallerWritable(): void {
    const held = this.#responseHeld;
    if (held === 0) return;
    this.#responseHeld = 0;
    this.#call?.consume(held);
  }

  onFailure(given: WireCallError): void {
    // Both sides count the same deadline; the server's clock was first.
    const late =
      given.kind === "reset" &&
      given.http2Code === errorCode.cancel &&
      performance.now() >= this.deadlineAt;
    const error = late ? this.tooLate() : given;
    this.#error = error;
    // What still comes of the request is read and dropped.
    this.#early = nothingEarly;
    this.onWritable();
    const { incoming } = this;
    if (error.kind === "reset") {
      incoming.reset(resetForCaller(error.http2Code, this.answering));
    } else if (!this.answering) this.#send(this.answerTo(error), error.code);
    else if (this.protocol === "grpc") {
      this.#grpcStatus = `${error.code}`;
      incoming.end(undefined, failureTrailers(error));
    } else incoming.reset(errorCode.internalError);
    // A stream that this side reset tells nobody.
    if (incoming.closed) this.#finish("failed", errorCode.cancel);
  }

  /**
   * Answers the caller here, and leaves the server. An answer that has begun is ended: with a status for
   * gRPC, with the content of the answer behind what was sent if its length was not said, else by a reset.
   *
   * @param code - of gRPC, for the trailers of an answer that has begun
   */
  conclude(answer: FailureAnswer, code: Code, message: string): void {
    if (this.#over || this.#concluded || this.#error || this.incoming.localEnded) return;
    this.#concluded = true;
    this.#early = nothingEarly;
    this.#call?.cancel();
    this.onWritable();
    const { incoming } = this;
    if (!this.answering) this.#send(answer, code);
    else if (this.protocol === "grpc") {
      const error = new WireCallError("deadline", code, message);
      this.#grpcStatus = `${code}`;
      incoming.end(undefined, failureTrailers(error));
    } else if (this.#response!.contentLength === -1 && answer.body) {
      incoming.write(answer.body, true);
    } else incoming.reset(errorCode.internalError);
    if (incoming.closed) this.#finish("failed", errorCode.cancel);
  }

  #send({ fields, body }: FailureAnswer, code: Code): void {
    this.#status = statusOf(fields);
    if (this.protocol !== "http" && this.#status === 200) this.#grpcStatus = `${code}`;
    this.incoming.sendHead(undefined, fields, body === undefined);
    if (body) this.incoming.write(body, true);
  }

  #finish(end: ForwardEnd, code: number): void {
    if (this.#over) return;
    this.#over = true;
    this.wheel.disarm(this);
    // A stream that both sides have ended needs no reset: servers take many of them for an attack.
    if (end === "answered") this.#call?.leave();
    else this.#call?.cancel(code);
    // The windows of both connections are theirs again, whatever became of the bytes.
    this.#early = nothingEarly;
    this.onWritable();
    this.onCallerWritable();
    this.onOver(end);
  }
}

/** For requests whose whole head is in their fields. */
const noTemplate = new HeaderTemplate([]);
const noBody = { body: "none" } as const;
/** Shared by streams that keep nothing. */
const nothingEarly: Buffer[] = [];

function statusOf(fields: readonly OutgoingField[]): number {
  return Number(fields[0]![1]);
}

const knownAnswers = new WeakMap<ForwardChannel, KnownAnswers>();

function answersOf(channel: ForwardChannel): KnownAnswers {
  let known = knownAnswers.get(channel);
  if (!known) {
    known = new KnownAnswers();
    knownAnswers.set(channel, known);
  }
  return known;
}
