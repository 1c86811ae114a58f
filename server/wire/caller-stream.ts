import type { HeaderTemplate, OutgoingField } from "./http2/hpack/hpack-encoder.ts";
import type { StreamReceiver } from "./http2/http2-stream.ts";
import type { RequestHead } from "./http2/message-head.ts";
import type { Peer } from "./peer.ts";

/**
 * One request of a caller and the answer to it, as a proxy sees them, whatever the version of HTTP: a
 * stream of an HTTP/2 connection, or an exchange of an HTTP/1.1 one.
 */
export interface CallerStream {
  /** Told of what comes; set by whoever takes the request. */
  receiver: StreamReceiver;
  /** Neither side sends any more. */
  readonly closed: boolean;
  /** The whole answer was given to the connection. */
  readonly localEnded: boolean;
  /**
   * Sends the head of an answer, `:status` first, or an informational one before it. Names are in lower
   * case; what HTTP/1.1 says of its connection is not among the fields, but for `upgrade`.
   */
  sendHead(
    template: HeaderTemplate | undefined,
    fields: readonly OutgoingField[] | undefined,
    endStream: boolean,
  ): void;
  /**
   * Sends content; the bytes must stay as they are until they are sent.
   *
   * @returns false when the owner should wait for {@link StreamReceiver.onWritable}
   */
  write(bytes: Uint8Array, endStream?: boolean): boolean;
  /** Ends the content, with trailers if there are any. */
  end(template?: HeaderTemplate, fields?: readonly OutgoingField[]): void;
  /** Bytes of the request were taken in: the caller may send as many again. */
  consume(bytes: number): void;
  /**
   * Ends the stream at once; the receiver is not told.
   *
   * @param code - of HTTP/2's RST_STREAM; with HTTP/1.1 the connection is closed
   */
  reset(code?: number): void;
}

/** Takes requests undecoded; sets the stream's receiver. */
export type StreamHandler = (
  stream: CallerStream,
  head: RequestHead,
  endStream: boolean,
  peer: Peer,
) => void;
