import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { messageTooLarge } from "../errors/message-errors.ts";
import { callAborted } from "../errors/model-errors.ts";
import { memoryOf, type RequestMemory } from "../wire/request-memory.ts";
import { type DescribeError, toConnectError } from "./connect-errors.ts";

/** Bytes before each message of gRPC, gRPC-Web and Connect streams: flags and a length. */
const prefixBytes = 5;

/**
 * Watches the body of an RPC on its way to Connect, which reads the message of a unary call before
 * any interceptor runs: a message over the limit, or one that the memory for requests has no room for,
 * fails when its length is known, and a body that stalls fails at the deadline.
 */
export class RequestGuard implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #body: AsyncIterator<Uint8Array>;
  readonly #enveloped: boolean;
  readonly #maxMessageBytes: number;
  readonly #timer: NodeJS.Timeout | undefined;
  readonly #describe: DescribeError;
  readonly #memory: RequestMemory;
  /** Bytes of the prefix that is being read, and of the message after it that are still to come. */
  #prefixSeen = 0;
  #messageLeft = 0;
  #length = 0;
  /** Bytes of a body without envelopes. */
  #bytes = 0;
  #failure: Error | undefined;
  #failRead: ((error: Error) => void) | undefined;

  /**
   * @param timeoutMs - time to the deadline; `undefined` is none
   * @param describe - how an error is told to callers
   */
  constructor(
    request: UniversalServerRequest,
    maxMessageBytes: number,
    timeoutMs: number | undefined,
    describe: DescribeError = toConnectError,
  ) {
    this.#describe = describe;
    this.#memory = memoryOf(request);
    this.#body = (request.body as AsyncIterable<Uint8Array>)[Symbol.asyncIterator]();
    this.#enveloped = isEnveloped(request.header.get("content-type") ?? "");
    this.#maxMessageBytes = maxMessageBytes;
    const declared = Number(request.header.get("content-length") ?? 0);
    if (!this.#enveloped && declared > maxMessageBytes) this.#failure = this.#tooLarge(declared);
    this.#timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(
            () => this.#fail(describe(callAborted("deadline", "before the request was whole"))),
            timeoutMs,
          );
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#failure) return Promise.reject(this.#failure);
    return new Promise((resolve, reject) => {
      this.#failRead = reject;
      this.#body.next().then((result) => {
        if (!result.done) this.#count(result.value);
        if (this.#failure) reject(this.#failure);
        else resolve(result);
      }, reject);
    });
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.release();
    return this.#body.return?.() ?? Promise.resolve({ done: true, value: undefined });
  }

  /** Ends the watch for the deadline: the call is answered, or has its own. */
  release(): void {
    clearTimeout(this.#timer);
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#failRead?.(this.#failure);
  }

  #count(chunk: Uint8Array): void {
    if (!this.#enveloped) {
      this.#bytes += chunk.byteLength;
      if (this.#bytes > this.#maxMessageBytes) this.#failure ??= this.#tooLarge(undefined);
      else this.#hold(this.#bytes);
      return;
    }
    let at = 0;
    while (at < chunk.byteLength) {
      if (this.#messageLeft > 0) {
        const skipped = Math.min(this.#messageLeft, chunk.byteLength - at);
        this.#messageLeft -= skipped;
        at += skipped;
        continue;
      }
      const byte = chunk[at]!;
      at++;
      if (this.#prefixSeen > 0) this.#length = this.#length * 256 + byte;
      this.#prefixSeen++;
      if (this.#prefixSeen < prefixBytes) continue;
      if (this.#length > this.#maxMessageBytes) {
        this.#failure ??= this.#tooLarge(this.#length);
        return;
      }
      // The message before is over: of a stream one message is held at a time.
      this.#hold(this.#length);
      this.#messageLeft = this.#length;
      this.#prefixSeen = 0;
      this.#length = 0;
    }
  }

  #hold(bytes: number): void {
    const full = this.#memory.hold(bytes);
    if (full) this.#failure ??= this.#describe(full);
  }

  #tooLarge(bytes: number | undefined): Error {
    return this.#describe(messageTooLarge(bytes, this.#maxMessageBytes));
  }
}

function isEnveloped(contentType: string): boolean {
  return (
    contentType.startsWith("application/grpc") || contentType.startsWith("application/connect+")
  );
}
