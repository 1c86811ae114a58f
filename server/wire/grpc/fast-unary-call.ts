import type { Principal } from "../../access/principal.ts";
import { messageTooLarge } from "../../errors/message-errors.ts";
import { callAborted } from "../../errors/model-errors.ts";
import { fieldsToHeaders } from "../http2/header-fields.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import { HeaderTemplate, type OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { Http2Stream, StreamReceiver } from "../http2/http2-stream.ts";
import { messageBuffers, placeMessage, pooledMessageBytes } from "../message-buffers.ts";
import type { Peer } from "../peer.ts";
import { deadlineWheel, WheelTimer } from "../timer-wheel.ts";
import type { FastRoute } from "./fast-route.ts";
import type { FastCall, FastUnaryMethods, MessageParts } from "./fast-unary.ts";

/** Bytes before a message: a flag and its length. */
const prefixBytes = 5;

const headTemplate = new HeaderTemplate([
  [":status", "200"],
  ["content-type", "application/grpc+proto"],
]);
const okTrailers = new HeaderTemplate([["grpc-status", "0"]]);

const missingMessage: readonly OutgoingField[] = [
  ["grpc-status", "12"],
  ["grpc-message", "protocol error: missing input message for unary method"],
];
const extraMessage: readonly OutgoingField[] = [
  ["grpc-status", "12"],
  ["grpc-message", "protocol error: received extra input message for unary method"],
];
const cutMessage: readonly OutgoingField[] = [
  ["grpc-status", "3"],
  ["grpc-message", "protocol error: incomplete envelope"],
];
const compressedMessage: readonly OutgoingField[] = [
  ["grpc-status", "13"],
  ["grpc-message", "received compressed envelope, but do not know how to decompress"],
];

/** What is said of a prefix whose flag is not 0 (gRPC over HTTP/2, Length-Prefixed-Message). */
function refusedFlag(flag: number): readonly OutgoingField[] {
  if (flag === 1) return compressedMessage;
  return [
    ["grpc-status", "13"],
    ["grpc-message", `protocol error: the flag before a message is ${flag}, expected 0 or 1`],
  ];
}

/** One unary gRPC call, from the bytes of its message to those of the answer. */
export class FastUnaryCall extends WheelTimer implements StreamReceiver, FastCall {
  readonly peer: Peer;
  readonly fields: readonly HeaderField[];
  principal: Principal | undefined = undefined;
  aborted: "deadline" | "cancelled" | undefined = undefined;
  readonly #stream: Http2Stream;
  readonly #route: FastRoute;
  readonly #options: FastUnaryMethods;
  /** Prefix of the message, as far as it came; only of one that came in pieces. */
  #prefix: Buffer | undefined;
  #prefixHave = 0;
  #message: Buffer | undefined;
  #messageHave = 0;
  /** Where the message lies, if that is a buffer of the pool. */
  #buffer: Buffer | undefined;
  /** Bytes that the message takes of what its connection may have under way. */
  #size = 0;
  /** Whether the caller may go on is still being found out. */
  #admitting = false;
  /** The whole message, while it waits for that. */
  #waiting: Buffer | undefined;
  /** The handler may still look at the message, and the stream at an answer made of it. */
  #handling = false;
  /** Nothing more is to be sent: the answer went out, or cannot. */
  #answered = false;
  #listener: (() => void) | undefined;
  #controller: AbortController | undefined;
  #headers: Headers | undefined;
  #headFields: OutgoingField[] | undefined;
  #trailerFields: OutgoingField[] | undefined;

  constructor(
    stream: Http2Stream,
    route: FastRoute,
    fields: readonly HeaderField[],
    peer: Peer,
    options: FastUnaryMethods,
  ) {
    super();
    this.#stream = stream;
    this.#route = route;
    this.fields = fields;
    this.peer = peer;
    this.#options = options;
  }

  /** The head has come. */
  begin(endStream: boolean): void {
    if (this.#route.timeoutMs >= 0) deadlineWheel.arm(this, this.#route.timeoutMs);
    if (this.#options.admit !== undefined && !this.#admit(this.#options.admit)) return;
    if (endStream) this.#refuse(missingMessage);
    else this.#stream.awaitsData = true;
  }

  /** False if the call is refused already. */
  #admit(admit: NonNullable<FastUnaryMethods["admit"]>): boolean {
    try {
      const admission = admit(this, this.#route.path);
      if (admission !== undefined) {
        this.#admitting = true;
        admission.then(this.#onAdmitted, this.#onError);
      }
      return true;
    } catch (error) {
      this.#fail(error);
      return false;
    }
  }

  readonly #onAdmitted = (): void => {
    this.#admitting = false;
    const message = this.#waiting;
    if (message === undefined) return;
    this.#waiting = undefined;
    this.#handling = false;
    if (!this.#answered) this.#handle(message);
    if (!this.#handling && this.#stream.closed) this.#free();
  };

  // What handlers ask.

  get requestHeader(): Headers {
    this.#headers ??= fieldsToHeaders(this.fields);
    return this.#headers;
  }

  get signal(): AbortSignal {
    if (!this.#controller) {
      this.#controller = new AbortController();
      if (this.aborted) this.#controller.abort(this.#abortError());
    }
    return this.#controller.signal;
  }

  onAbort(listener: (() => void) | undefined): void {
    if (this.aborted) listener?.();
    else this.#listener = listener;
  }

  setHeader(name: string, value: string): void {
    this.#headFields ??= [];
    this.#headFields.push([name, value]);
  }

  setTrailer(name: string, value: string): void {
    this.#trailerFields ??= [];
    this.#trailerFields.push([name, value]);
  }

  // What the stream tells.

  onData(bytes: Buffer, endStream: boolean): void {
    const { length } = bytes;
    if (length > 0) this.#stream.consume(length);
    if (this.#answered) return;
    if (this.#message === undefined && this.#prefixHave === 0 && length >= prefixBytes) {
      const size = bytes.readUInt32BE(1);
      // The whole message in one frame: it is read where it lies.
      if (size + prefixBytes === length && size <= this.#options.maxMessageBytes) {
        if (bytes[0] !== 0) this.#refuse(refusedFlag(bytes[0]!));
        else if (endStream) this.#run(bytes.subarray(prefixBytes));
        else {
          this.#message = bytes.subarray(prefixBytes);
          this.#messageHave = size;
        }
        return;
      }
    }
    this.#collect(bytes);
    if (endStream && !this.#answered) this.#end();
  }

  onTrailers(): void {
    if (!this.#answered) this.#end();
  }

  onEnd(): void {
    this.#settle();
    this.#abort("cancelled");
  }

  /** The deadline has passed. */
  override fire(): void {
    if (this.#answered) return;
    this.#abort("deadline");
    // A handler that looks at its call gets a turn to say where it stood.
    setImmediate(() => {
      if (!this.#answered) this.#fail(callAborted("deadline", "before the answer"));
    });
  }

  // The request.

  #collect(bytes: Buffer): void {
    let at = 0;
    if (this.#message === undefined) {
      this.#prefix ??= Buffer.allocUnsafe(prefixBytes);
      at = bytes.copy(this.#prefix, this.#prefixHave, 0, prefixBytes - this.#prefixHave);
      this.#prefixHave += at;
      if (this.#prefixHave < prefixBytes) return;
      if (!this.#begin(this.#prefix)) return;
    }
    const message = this.#message!;
    const copied = bytes.copy(message, this.#messageHave, at);
    this.#messageHave += copied;
    if (at + copied < bytes.length) this.#refuse(extraMessage);
  }

  /** Makes room for a message; false if there is none. */
  #begin(prefix: Buffer): boolean {
    if (prefix[0] !== 0) {
      this.#refuse(refusedFlag(prefix[0]!));
      return false;
    }
    const size = prefix.readUInt32BE(1);
    const { maxMessageBytes } = this.#options;
    if (size > maxMessageBytes) {
      this.#fail(messageTooLarge(size, maxMessageBytes));
      return false;
    }
    const { connection } = this.#stream;
    const full = connection.reserve(size);
    if (full) {
      this.#fail(full);
      return false;
    }
    this.#size = size;
    if (size < pooledMessageBytes) {
      this.#message = Buffer.allocUnsafeSlow(size);
      return true;
    }
    this.#buffer = messageBuffers.takeFor(size);
    this.#message = placeMessage(this.#buffer, size);
    // Its place is there: the peer need not wait for us on the way.
    this.#stream.expect(size);
    return true;
  }

  #end(): void {
    const message = this.#message;
    if (message === undefined) this.#refuse(this.#prefixHave === 0 ? missingMessage : cutMessage);
    else if (this.#messageHave < message.length) this.#refuse(cutMessage);
    else this.#run(message);
  }

  #run(message: Buffer): void {
    this.#stream.awaitsData = false;
    // The handler holds on to it; the call need not.
    this.#message = undefined;
    if (this.#admitting) {
      this.#waiting = message;
      this.#handling = true;
    } else this.#handle(message);
  }

  #handle(message: Buffer): void {
    try {
      const answer = this.#route.handler(message, this);
      if (answer instanceof Promise) {
        this.#handling = true;
        answer.then(this.#onAnswer, this.#onError);
      } else this.#answer(answer);
    } catch (error) {
      this.#fail(error);
    }
  }

  // The answer.

  readonly #onAnswer = (answer: MessageParts): void => {
    this.#handling = false;
    this.#answer(answer);
    if (this.#stream.closed) this.#free();
  };

  readonly #onError = (error: unknown): void => {
    this.#handling = false;
    this.#waiting = undefined;
    this.#fail(error);
    if (this.#stream.closed) this.#free();
  };

  #answer(message: MessageParts): void {
    if (this.#answered) return;
    this.#settle();
    const stream = this.#stream;
    stream.sendHead(headTemplate, this.#headFields, false);
    stream.writeMessage(message);
    stream.end(okTrailers, this.#trailerFields);
  }

  #fail(error: unknown): void {
    if (this.#answered) return;
    this.#refuse(this.#options.toStatus(error, this.#route.path));
  }

  /** Trailers-Only: an answer without a message is one header block, unless it has fields of both. */
  #refuse(status: readonly OutgoingField[]): void {
    this.#settle();
    this.#message = undefined;
    const trailers = this.#trailerFields ? [...this.#trailerFields, ...status] : status;
    if (!this.#headFields) {
      this.#stream.sendHead(headTemplate, trailers, true);
      return;
    }
    this.#stream.sendHead(headTemplate, this.#headFields, false);
    this.#stream.end(undefined, trailers);
  }

  /** Nothing is to be done for the call any more. */
  #settle(): void {
    this.#answered = true;
    this.#stream.awaitsData = false;
    deadlineWheel.disarm(this);
  }

  /** The stream is closed: nothing of the answer is still to be sent. */
  onClosed(): void {
    if (!this.#handling) this.#free();
  }

  #free(): void {
    this.#stream.connection.unreserve(this.#size);
    this.#size = 0;
    const buffer = this.#buffer;
    if (!buffer) return;
    this.#buffer = undefined;
    messageBuffers.give(buffer);
  }

  #abort(why: "deadline" | "cancelled"): void {
    if (this.aborted) return;
    this.aborted = why;
    const listener = this.#listener;
    this.#listener = undefined;
    listener?.();
    this.#controller?.abort(this.#abortError());
  }

  #abortError(): Error {
    return callAborted(this.aborted ?? "cancelled", "before the answer");
  }
}
