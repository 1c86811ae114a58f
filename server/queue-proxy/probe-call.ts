import type { CallerStream } from "../wire/caller-stream.ts";
import type { FailureAnswer } from "../wire/client/forward-failure.ts";
import type { OutgoingHead } from "../wire/client/forwarded-heads.ts";
import { type ForwardEnd, ForwardedStream } from "../wire/client/forwarded-stream.ts";
import type { WireCallError } from "../wire/client/wire-call-error.ts";
import { Http1RequestHead } from "../wire/http1/read-head.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";
import { textAnswer } from "./local-answers.ts";
import type { ProxyHost } from "./proxy-host.ts";
import { outgoingRequestHead } from "./rewrite-head.ts";

/** A probe of the user's container, passed on beside the queue and the counts. */
export class ProbeCall extends ForwardedStream {
  readonly #host: ProxyHost;
  readonly #address: string;

  constructor(
    incoming: CallerStream,
    head: RequestHead,
    bare: boolean,
    host: ProxyHost,
    address: string,
  ) {
    super(incoming, head, bare, head instanceof Http1RequestHead ? host.http1 : host.http2);
    this.#host = host;
    this.#address = address;
    host.openCalls++;
  }

  override outgoingHead(): OutgoingHead {
    return outgoingRequestHead(this.head, this.channel, this.#address);
  }

  override answerTo(error: WireCallError): FailureAnswer {
    return this.protocol === "http"
      ? textAnswer(502, error.message, this.head)
      : super.answerTo(error);
  }

  override onOver(_end: ForwardEnd): void {
    this.#host.openCalls--;
    if (this.#host.openCalls === 0) this.#host.onIdle();
  }
}
