import type { CallerStream } from "../caller-stream.ts";
import type { RequestHead, ResponseHead } from "../http2/message-head.ts";
import type { ForwardChannel } from "./forward-channel.ts";
import type { OutgoingHead } from "./forwarded-heads.ts";
import { type ForwardEnd, ForwardedStream } from "./forwarded-stream.ts";
import type { WireCallError } from "./wire-call-error.ts";

/** How a stream is forwarded. */
export interface ForwardOptions {
  /**
   * Head that the server gets, pseudo-header fields first; begin with `forwardedRequestFields`. A
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
  readonly kind: ForwardEnd;
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
 * Forwards a request to a channel and its answer back at once; see {@link ForwardedStream}.
 *
 * @param incoming - stream of the caller, whose head has come; its receiver is set here
 * @param endStream - the request has no content
 */
export function forwardStream(
  incoming: CallerStream,
  head: RequestHead,
  endStream: boolean,
  channel: ForwardChannel,
  options: ForwardOptions = {},
): void {
  new PlainStream(incoming, head, endStream, channel, options).begin();
}

/** A stream that is forwarded as its options say. */
class PlainStream extends ForwardedStream {
  readonly #options: ForwardOptions;

  constructor(
    incoming: CallerStream,
    head: RequestHead,
    bare: boolean,
    channel: ForwardChannel,
    options: ForwardOptions,
  ) {
    super(incoming, head, bare, channel);
    this.#options = options;
  }

  override get waitsForReady(): boolean | undefined {
    return this.#options.waitForReady;
  }

  override outgoingHead(): OutgoingHead {
    const { rewriteHead } = this.#options;
    return rewriteHead ? rewriteHead(this.head) : super.outgoingHead();
  }

  override outgoingAnswer(head: ResponseHead): OutgoingHead {
    const { rewriteResponseHead } = this.#options;
    return rewriteResponseHead ? rewriteResponseHead(head) : super.outgoingAnswer(head);
  }

  override onOver(kind: ForwardEnd): void {
    this.#options.onEnd?.({
      kind,
      status: this.status === 0 ? undefined : this.status,
      grpcStatus: this.grpcStatus,
      requestBytes: this.requestBytes,
      responseBytes: this.responseBytes,
      error: this.error,
    });
  }
}
