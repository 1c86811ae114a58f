import { createContextValues } from "@connectrpc/connect";
import type { UniversalHandlerFn, UniversalServerResponse } from "@connectrpc/connect/protocol";
import { type Peer, peerKey } from "../peer.ts";
import { AccountedMemory, requestMemoryKey } from "../request-memory.ts";
import { PeerGoneError } from "../request-signal.ts";
import { errorCode } from "./frame.ts";
import { fieldsOf, fieldsToHeaders } from "./header-fields.ts";
import type { OutgoingField } from "./hpack/hpack-encoder.ts";
import type { Http2Stream, StreamReceiver } from "./http2-stream.ts";
import type { RequestHead } from "./message-head.ts";
import { StreamBody } from "./stream-body.ts";

const noBody: AsyncIterable<Uint8Array> = { async *[Symbol.asyncIterator]() {} };

/** Answers one request through a universal handler. */
export class UniversalExchange implements StreamReceiver {
  readonly #stream: Http2Stream;
  readonly #body: StreamBody | undefined;
  readonly #memory: AccountedMemory;
  readonly #onError: (error: Error) => void;
  #abort: AbortController | undefined;
  #gone = false;
  #bodyOfAnswer: AsyncIterator<Uint8Array> | undefined;
  #writable: (() => void) | undefined;

  constructor(stream: Http2Stream, endStream: boolean, onError: (error: Error) => void) {
    this.#stream = stream;
    this.#memory = new AccountedMemory(stream.connection);
    this.#onError = onError;
    this.#body = endStream ? undefined : new StreamBody(stream);
  }

  /** Calls the handler and sends what it answers. Never rejects. */
  async answer(
    head: RequestHead,
    url: string,
    peer: Peer,
    handler: UniversalHandlerFn,
  ): Promise<void> {
    const abort = new AbortController();
    this.#abort = abort;
    try {
      const response = await handler({
        httpVersion: "2.0",
        method: head.method,
        url,
        header: fieldsToHeaders(head.fields),
        body: this.#body ?? noBody,
        signal: abort.signal,
        contextValues: createContextValues().set(peerKey, peer).set(requestMemoryKey, this.#memory),
      });
      const body = response.body?.[Symbol.asyncIterator]();
      this.#bodyOfAnswer = body;
      if (this.#gone) leave(body);
      else if (body && head.method !== "HEAD") await this.#sendWithBody(response, body);
      else {
        leave(body);
        this.#sendWithoutBody(response);
      }
    } catch (error) {
      if (abort.signal.aborted) return;
      this.#onError(error instanceof Error ? error : new Error(String(error)));
      leave(this.#bodyOfAnswer);
      if (this.#stream.headSent) this.#stream.reset(errorCode.internalError);
      else this.#stream.sendHead(undefined, [[":status", "500"]], true);
    } finally {
      this.#body?.leave();
      this.#memory.hold(0);
    }
  }

  onData(bytes: Buffer, endStream: boolean): void {
    this.#body?.push(bytes);
    if (endStream) this.#body?.end();
  }

  onTrailers(): void {
    this.#body?.end();
  }

  onWritable(): void {
    const resume = this.#writable;
    this.#writable = undefined;
    resume?.();
  }

  onEnd(): void {
    this.#gone = true;
    this.#body?.fail();
    this.#abort?.abort(new PeerGoneError());
    leave(this.#bodyOfAnswer);
    this.onWritable();
  }

  #sendWithoutBody(response: UniversalServerResponse): void {
    const head = headOf(response);
    const trailers = fieldsOf(response.trailer);
    const stream = this.#stream;
    if (trailers.length === 0) stream.sendHead(undefined, head, true);
    else {
      stream.sendHead(undefined, head, false);
      stream.end(undefined, trailers);
    }
  }

  async #sendWithBody(
    response: UniversalServerResponse,
    body: AsyncIterator<Uint8Array>,
  ): Promise<void> {
    // Connect lets a handler set headers until its first message.
    let next = await body.next();
    if (this.#gone) return;
    const stream = this.#stream;
    const head = headOf(response);
    const { trailer } = response;
    if (next.done && trailer && isTrailersOnly(response.header, trailer)) {
      // Trailers-Only: an error without a message before it is one header block.
      stream.sendHead(undefined, [...head, ...fieldsOf(trailer)], true);
      return;
    }
    stream.sendHead(undefined, head, false);
    while (!next.done) {
      if (!stream.write(next.value)) await this.#drained();
      if (this.#gone) return;
      next = await body.next();
      if (this.#gone) return;
    }
    // Trailers are complete only when the body has ended.
    stream.end(undefined, fieldsOf(trailer));
  }

  #drained(): Promise<void> {
    return new Promise((resolve) => {
      this.#writable = resolve;
    });
  }
}

/** Tells an iterator that nobody reads on; what it does then is its own affair. */
function leave(iterator: AsyncIterator<Uint8Array> | undefined): void {
  iterator?.return?.().catch(() => {});
}

function headOf(response: UniversalServerResponse): OutgoingField[] {
  return [[":status", `${response.status}`], ...fieldsOf(response.header)];
}

/**
 * Whether an answer may be one header block. With headers of the handler's own it may not: clients take
 * all fields of that block for trailers.
 */
function isTrailersOnly(header: Headers | undefined, trailer: Headers): boolean {
  if (!header || !isGrpc(header) || trailer.get("grpc-status") === "0") return false;
  for (const name of header.keys()) {
    if (name !== "content-type" && !name.startsWith("grpc-")) return false;
  }
  return true;
}

function isGrpc(header: Headers | undefined): boolean {
  const type = header?.get("content-type") ?? "";
  return type.startsWith("application/grpc") && !type.startsWith("application/grpc-web");
}
