import type { CallerStream } from "../wire/caller-stream.ts";
import type { FailureAnswer } from "../wire/client/forward-failure.ts";
import type { StreamReceiver } from "../wire/http2/http2-stream.ts";

/** Reads and drops what a request has, while it is answered here. */
class Dropper implements StreamReceiver {
  readonly #stream: CallerStream;

  constructor(stream: CallerStream) {
    this.#stream = stream;
  }

  onData(bytes: Buffer): void {
    this.#stream.consume(bytes.length);
  }

  onTrailers(): void {}

  onEnd(): void {}
}

/** Takes a request that is answered here. */
export function takeRequest(stream: CallerStream): void {
  stream.receiver = new Dropper(stream);
}

/** Answers a request that was taken; one whose caller has gone is let be. */
export function reply(stream: CallerStream, { fields, body }: FailureAnswer): void {
  if (stream.closed) return;
  stream.sendHead(undefined, fields, body === undefined);
  if (body) stream.write(body, true);
}
