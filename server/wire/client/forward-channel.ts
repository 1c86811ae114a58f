import type { OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { WireCallReceiver, WireRequest } from "./wire-call.ts";

/** A call that is forwarded: what a {@link WireCall} and an HTTP/1.1 call have in common. */
export interface ForwardCall {
  /** @returns false when the owner should wait for {@link WireCallReceiver.onWritable} */
  write(bytes: Uint8Array, endStream?: boolean): boolean;
  /** Ends the content, with trailers if there are any. */
  end(trailers?: readonly OutgoingField[]): void;
  /** Bytes of the answer were taken in: the server may send as many again. */
  consume(bytes: number): void;
  /** The answer is whole and its owner needs no more: a request that has not ended is left at that. */
  leave(): void;
  /**
   * Ends the call; the receiver is not told.
   *
   * @param code - of HTTP/2's RST_STREAM
   */
  cancel(code?: number): void;
}

/** Whoever makes calls to one server, over either version of HTTP. */
export interface ForwardChannel {
  readonly scheme: "http" | "https";
  /** How messages name the server. */
  readonly targetName: string;
  call(request: WireRequest, receiver: WireCallReceiver): ForwardCall;
}
