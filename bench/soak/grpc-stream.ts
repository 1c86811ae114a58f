import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  constants,
  type IncomingHttpHeaders,
} from "node:http2";

/** How a call ended. */
export interface CallEnd {
  /** `grpc-status`, or undefined if the stream ended without one. */
  readonly status: string | undefined;
  readonly message: string | undefined;
  readonly resetCode: number;
  readonly messages: readonly Buffer[];
}

/** One gRPC call on node:http2, whose every step can be chosen. */
export class GrpcStream {
  readonly #stream: ClientHttp2Stream;
  readonly #end: Promise<CallEnd>;
  #received: Buffer[] = [];
  #receivedBytes = 0;
  readonly #messages: Buffer[] = [];
  #onMessage: (() => void) | undefined;

  constructor(session: ClientHttp2Session, path: string, timeout?: string) {
    const stream = session.request({
      ":method": "POST",
      ":path": path,
      "content-type": "application/grpc",
      te: "trailers",
      ...(timeout === undefined ? {} : { "grpc-timeout": timeout }),
    });
    this.#stream = stream;
    let fields: IncomingHttpHeaders = {};
    stream.on("error", () => {});
    stream.on("response", (given) => {
      fields = given;
    });
    stream.on("trailers", (given) => {
      fields = { ...fields, ...given };
    });
    // An answer may come before the request has ended; then the rest of it is of no use.
    stream.on("end", () => {
      if (!stream.writableEnded) stream.close(constants.NGHTTP2_NO_ERROR);
    });
    stream.on("data", (chunk: Buffer) => this.#take(chunk));
    this.#end = new Promise((resolve) => {
      stream.once("close", () => {
        this.#onMessage?.();
        resolve({
          status: fields["grpc-status"] as string | undefined,
          message: fields["grpc-message"] as string | undefined,
          resetCode: stream.rstCode,
          messages: this.#messages,
        });
      });
    });
  }

  get isClosed(): boolean {
    return this.#stream.closed || this.#stream.destroyed;
  }

  /** Sends a message, or only so many bytes of it. */
  send(message: Uint8Array, bytes = Number.POSITIVE_INFINITY): void {
    if (this.isClosed || this.#stream.writableEnded) return;
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(message.byteLength, 1);
    const framed = Buffer.concat([prefix, message]);
    this.#stream.write(framed.subarray(0, Math.min(bytes, framed.byteLength)));
  }

  finish(): void {
    if (!this.isClosed && !this.#stream.writableEnded) this.#stream.end();
  }

  cancel(): void {
    this.#stream.close(constants.NGHTTP2_CANCEL);
  }

  /** Waits until so many messages came in all, or the stream is closed. */
  async received(count: number): Promise<void> {
    while (this.#messages.length < count && !this.isClosed) {
      await new Promise<void>((resolve) => {
        this.#onMessage = resolve;
      });
    }
  }

  /** Waits until the stream is closed. */
  ended(): Promise<CallEnd> {
    return this.#end;
  }

  #take(chunk: Buffer): void {
    this.#received.push(chunk);
    this.#receivedBytes += chunk.byteLength;
    while (this.#receivedBytes >= 5) {
      const first = this.#received[0]!.byteLength >= 5 ? this.#received[0]! : this.#join();
      const whole = 5 + first.readUInt32BE(1);
      if (this.#receivedBytes < whole) return;
      const joined = this.#join();
      this.#messages.push(joined.subarray(5, whole));
      this.#received = joined.byteLength > whole ? [joined.subarray(whole)] : [];
      this.#receivedBytes -= whole;
      this.#onMessage?.();
    }
  }

  #join(): Buffer {
    const joined = Buffer.concat(this.#received);
    this.#received = [joined];
    return joined;
  }
}
