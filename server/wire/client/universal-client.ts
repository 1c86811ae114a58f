import { Code, ConnectError } from "@connectrpc/connect";
import type {
  UniversalClientFn,
  UniversalClientRequest,
  UniversalClientResponse,
} from "@connectrpc/connect/protocol";
import { errorCode } from "../http2/frame.ts";
import { fieldsOf, fieldsToHeaders } from "../http2/header-fields.ts";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import type { ResponseHead } from "../http2/message-head.ts";
import { StreamBody } from "../http2/stream-body.ts";
import type { WireCall, WireCallReceiver } from "./wire-call.ts";
import type { WireCallError } from "./wire-call-error.ts";
import type { WireChannel } from "./wire-channel.ts";

/**
 * Connect's HTTP client over a channel. Errors are ConnectErrors; the trailers of an answer are filled
 * when its body has ended.
 */
export function universalClient(channel: WireChannel): UniversalClientFn {
  return (request) => new Promise((resolve, reject) => begin(channel, request, resolve, reject));
}

function begin(
  channel: WireChannel,
  request: UniversalClientRequest,
  resolve: (response: UniversalClientResponse) => void,
  reject: (error: Error) => void,
): void {
  const { signal } = request;
  // The reason of a signal that was aborted is the error, before any other.
  if (signal?.aborted) {
    reject(errorOfSignal(signal));
    return;
  }
  const { authority, path } = splitUrl(request.url);
  const exchange = new ClientExchange(request, resolve, reject);
  exchange.start(
    channel.call(
      {
        method: request.method,
        path,
        authority,
        fields: fieldsOf(request.header),
        ...(request.body ? {} : { body: "none" }),
      },
      exchange,
    ),
  );
}

/** Body of an answer; to stop reading it cancels the call. */
class LeavableBody implements AsyncIterable<Uint8Array>, AsyncIterator<Uint8Array> {
  readonly #body: StreamBody;
  readonly #onLeft: () => void;

  constructor(body: StreamBody, onLeft: () => void) {
    this.#body = body;
    this.#onLeft = onLeft;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this;
  }

  next(): Promise<IteratorResult<Uint8Array>> {
    return this.#body.next();
  }

  return(): Promise<IteratorResult<Uint8Array>> {
    this.#onLeft();
    return this.#body.return();
  }

  async throw(error: unknown): Promise<IteratorResult<Uint8Array>> {
    await this.return();
    throw error;
  }
}

/** One request of Connect. */
class ClientExchange implements WireCallReceiver {
  readonly #signal: AbortSignal | undefined;
  readonly #source: AsyncIterator<Uint8Array> | undefined;
  readonly #resolve: (response: UniversalClientResponse) => void;
  readonly #reject: (error: Error) => void;
  readonly #trailer = new Headers();
  #call: WireCall | undefined;
  #body: StreamBody | undefined;
  #writable: (() => void) | undefined;
  #over = false;

  constructor(
    request: UniversalClientRequest,
    resolve: (response: UniversalClientResponse) => void,
    reject: (error: Error) => void,
  ) {
    this.#signal = request.signal;
    this.#source = request.body?.[Symbol.asyncIterator]();
    this.#resolve = resolve;
    this.#reject = reject;
  }

  start(call: WireCall): void {
    this.#call = call;
    this.#signal?.addEventListener("abort", this);
    if (this.#source) void this.#send(call, this.#source);
  }

  // The request.

  async #send(call: WireCall, source: AsyncIterator<Uint8Array>): Promise<void> {
    try {
      for (;;) {
        const { done, value } = await source.next();
        if (this.#over) return;
        if (done) break;
        if (!call.write(value)) await this.#drained();
        if (this.#over) return;
      }
      call.end();
    } catch (error) {
      this.#fail(ConnectError.from(error, Code.Internal));
    }
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#writable = resolve;
    });
  }

  onWritable(): void {
    const resume = this.#writable;
    this.#writable = undefined;
    resume?.();
  }

  // The answer.

  onHead(head: ResponseHead, endStream: boolean): void {
    if (head.status < 200) return;
    const body = new StreamBody(this.#call!.stream!);
    this.#body = body;
    this.#resolve({
      status: head.status,
      header: fieldsToHeaders(head.fields),
      body: new LeavableBody(body, this.#onLeft),
      trailer: this.#trailer,
    });
    if (endStream) this.#end();
  }

  /** The reader stopped before the end: the rest of the answer is not wanted. */
  readonly #onLeft = (): void => {
    if (!this.#settle()) return;
    this.#call!.cancel();
    this.#source?.return?.().catch(() => {});
  };

  onData(bytes: Buffer, endStream: boolean): void {
    this.#body!.push(bytes);
    if (endStream) this.#end();
  }

  onTrailers(fields: readonly HeaderField[]): void {
    fieldsToHeaders(fields).forEach((value, name) => {
      this.#trailer.set(name, value);
    });
    this.#end();
  }

  onFailure(error: WireCallError): void {
    this.#fail(new ConnectError(error.message, error.code, undefined, undefined, error));
  }

  /** The signal was aborted. */
  handleEvent(): void {
    this.#fail(errorOfSignal(this.#signal!));
  }

  /** The answer is whole: the rest of the request is not wanted. */
  #end(): void {
    this.#body!.end();
    if (!this.#settle()) return;
    this.#call!.leave();
    this.#source?.return?.().catch(() => {});
  }

  #fail(error: ConnectError): void {
    if (!this.#settle()) return;
    const cancels = error.code === Code.Canceled || error.code === Code.DeadlineExceeded;
    this.#call!.cancel(cancels ? errorCode.cancel : errorCode.internalError);
    this.#body?.fail(error);
    this.#reject(error);
    const source = this.#source;
    if (source?.throw) source.throw(error).catch(() => {});
    else source?.return?.().catch(() => {});
  }

  /** False if the exchange was over before. */
  #settle(): boolean {
    if (this.#over) return false;
    this.#over = true;
    this.#signal?.removeEventListener("abort", this);
    this.onWritable();
    return true;
  }
}

function errorOfSignal(signal: AbortSignal): ConnectError {
  return ConnectError.from(signal.reason, Code.Canceled);
}

/** Splits an absolute URL; what the path holds is left as it is. */
function splitUrl(url: string): { authority: string; path: string } {
  const start = url.indexOf("://") + 3;
  const slash = url.indexOf("/", start);
  if (slash === -1) return { authority: url.slice(start), path: "/" };
  return { authority: url.slice(start, slash), path: url.slice(slash) };
}
