import { Code } from "@connectrpc/connect";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import { HeaderTemplate, type OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { ResponseHead } from "../http2/message-head.ts";
import { type GrpcStatus, grpcStatusOf } from "./grpc-status.ts";
import type { WireCall, WireCallReceiver } from "./wire-call.ts";
import { WireCallError } from "./wire-call-error.ts";
import type { WireChannel } from "./wire-channel.ts";

/** How a unary call is made. */
export interface UnaryOptions {
  /** Default the channel's. */
  readonly authority?: string;
  /** Metadata. Lower-case names. */
  readonly fields?: readonly OutgoingField[];
  /** Time until the call fails with DEADLINE_EXCEEDED, in ms; sent as `grpc-timeout`. */
  readonly deadlineMs?: number;
  readonly signal?: AbortSignal;
  /** Waits while the server cannot be reached, instead of failing. Default false. */
  readonly waitForReady?: boolean;
  /** Largest answer, in bytes. Default 256 MiB. */
  readonly maxMessageBytes?: number;
}

/** A whole answer, good or bad. */
export interface UnaryAnswer {
  readonly status: GrpcStatus;
  /** The answer's bytes, which are the caller's; there whenever the status is OK. */
  readonly message: Buffer | undefined;
  readonly head: ResponseHead;
  /** Empty for an answer without a message before its status: then the head has all. */
  readonly trailers: readonly HeaderField[];
}

const defaultMaxMessageBytes = 256 * 1024 * 1024;
const prefixBytes = 5;

/** Makes a unary call of gRPC; see {@link WireChannel.callUnary}. */
export function callUnary(
  channel: WireChannel,
  path: string,
  message: Uint8Array | readonly Uint8Array[],
  options: UnaryOptions = {},
): Promise<UnaryAnswer> {
  return new Promise((resolve, reject) => {
    const { fields, deadlineMs, signal, waitForReady } = options;
    const collector = new UnaryCollector(
      path,
      options.maxMessageBytes ?? defaultMaxMessageBytes,
      resolve,
      reject,
    );
    collector.call = channel.call(
      {
        path,
        template: templateOf(channel, path, options.authority ?? channel.authority),
        message,
        ...(fields === undefined ? {} : { fields }),
        ...(deadlineMs === undefined ? {} : { deadlineMs }),
        ...(signal === undefined ? {} : { signal }),
        ...(waitForReady === undefined ? {} : { waitForReady }),
      },
      collector,
    );
  });
}

/** Heads of methods that were called before, by channel. */
const templates = new WeakMap<WireChannel, Map<string, HeaderTemplate>>();
const maxTemplates = 256;

function templateOf(channel: WireChannel, path: string, authority: string): HeaderTemplate {
  let known = templates.get(channel);
  if (!known) {
    known = new Map();
    templates.set(channel, known);
  }
  const key = `${authority} ${path}`;
  let template = known.get(key);
  if (!template) {
    template = new HeaderTemplate([
      [":method", "POST"],
      [":scheme", channel.scheme],
      [":path", path],
      [":authority", authority],
      ["content-type", "application/grpc"],
      ["te", "trailers"],
    ]);
    if (known.size >= maxTemplates) known.clear();
    known.set(key, template);
  }
  return template;
}

/** Puts an answer together. */
class UnaryCollector implements WireCallReceiver {
  call: WireCall | undefined;
  readonly #path: string;
  readonly #maxBytes: number;
  readonly #resolve: (answer: UnaryAnswer) => void;
  readonly #reject: (error: WireCallError) => void;
  #head: ResponseHead | undefined;
  #prefix: Buffer | undefined;
  #prefixHave = 0;
  #message: Buffer | undefined;
  #messageHave = 0;

  constructor(
    path: string,
    maxBytes: number,
    resolve: (answer: UnaryAnswer) => void,
    reject: (error: WireCallError) => void,
  ) {
    this.#path = path;
    this.#maxBytes = maxBytes;
    this.#resolve = resolve;
    this.#reject = reject;
  }

  onHead(head: ResponseHead, endStream: boolean): void {
    if (head.status < 200) return;
    this.#head = head;
    if (endStream) this.#end(undefined);
  }

  onData(bytes: Buffer, endStream: boolean): void {
    const { length } = bytes;
    if (length > 0) this.call!.consume(length);
    if (!this.#isGrpc()) {
      if (endStream) this.#end(undefined);
      return;
    }
    this.#collect(bytes);
    if (endStream && !this.call!.over) this.#end(undefined);
  }

  onTrailers(fields: readonly HeaderField[]): void {
    this.#end(fields);
  }

  onFailure(error: WireCallError): void {
    this.#reject(error);
  }

  /** An answer of another protocol has no messages; its status tells what it is. */
  #isGrpc(): boolean {
    const head = this.#head!;
    return head.status === 200 && (head.get("content-type") ?? "").startsWith("application/grpc");
  }

  #collect(bytes: Buffer): void {
    let at = 0;
    if (this.#message === undefined) {
      this.#prefix ??= Buffer.allocUnsafe(prefixBytes);
      at = bytes.copy(this.#prefix, this.#prefixHave, 0, prefixBytes - this.#prefixHave);
      this.#prefixHave += at;
      if (this.#prefixHave < prefixBytes || !this.#begin(this.#prefix)) return;
    }
    const message = this.#message!;
    const copied = bytes.copy(message, this.#messageHave, at);
    this.#messageHave += copied;
    if (at + copied < bytes.length) {
      this.#fail(Code.Unimplemented, "it has more than one message, expected one");
    }
  }

  #begin(prefix: Buffer): boolean {
    const size = prefix.readUInt32BE(1);
    if (prefix[0] !== 0) {
      this.#fail(Code.Internal, "its message is compressed, which was not asked for");
      return false;
    }
    if (size > this.#maxBytes) {
      this.#fail(
        Code.ResourceExhausted,
        `its message has ${size} bytes, at most ${this.#maxBytes} are taken; raise maxMessageBytes`,
      );
      return false;
    }
    this.#message = Buffer.allocUnsafeSlow(size);
    // Its place is there: the server need not wait for us on the way.
    this.call!.stream?.expect(size);
    return true;
  }

  #end(trailers: readonly HeaderField[] | undefined): void {
    const head = this.#head!;
    this.call!.leave();
    const status = grpcStatusOf(head, trailers);
    const message = this.#message;
    if (status.code === 0) {
      if (message === undefined) {
        this.#fail(Code.Unimplemented, "it has status OK and no message");
        return;
      }
      if (this.#messageHave < message.length) {
        this.#fail(
          Code.Internal,
          `its message ended after ${this.#messageHave} of ${message.length} bytes`,
        );
        return;
      }
    }
    this.#resolve({ status, message, head, trailers: trailers ?? noFields });
  }

  #fail(code: Code, problem: string): void {
    this.call!.cancel();
    this.#reject(new WireCallError("protocol", code, `the answer to ${this.#path}: ${problem}`));
  }
}

const noFields: readonly HeaderField[] = [];
