import { errorCode } from "./frame.ts";
import type { HeaderField } from "./hpack/header-field.ts";
import type { HeaderTemplate, OutgoingField } from "./hpack/hpack-encoder.ts";
import type { Http2Connection } from "./http2-connection.ts";
import type { ResponseHead } from "./message-head.ts";

/** Why a stream ended before both sides had ended it. */
export interface StreamEnd {
  /** Error code of HTTP/2. */
  readonly code: number;
  /** Who ended it: the peer by RST_STREAM, this side, or the loss of the connection. */
  readonly by: "peer" | "local" | "connection";
  /** True if the peer surely did nothing with it, so that it may be sent again. */
  readonly unprocessed: boolean;
  readonly message: string;
}

/** What a stream tells its owner. All are called from the read loop of the socket: do not block. */
export interface StreamReceiver {
  /** Head of a response, or an informational one; clients only. */
  onHead?(head: ResponseHead, endStream: boolean): void;
  /**
   * Bytes of the content. They stay as they are after the call. The owner gives the peer its window
   * back by {@link Http2Stream.consume}.
   */
  onData(bytes: Buffer, endStream: boolean): void;
  /** Trailers; they end the stream. */
  onTrailers(fields: readonly HeaderField[]): void;
  /** What was written has left for the socket, after {@link Http2Stream.write} said to wait. */
  onWritable?(): void;
  /** The stream ended early. Called once, and nothing but {@link onClosed} with it. */
  onEnd(end: StreamEnd): void;
  /** The stream is closed, in whatever way: what was written is not looked at any more. */
  onClosed?(): void;
}

/** Bytes that wait on one stream before its owner is told to wait. */
const queueHighWater = 256 * 1024;

/** Header block that is encoded when its turn has come, because blocks depend on those before. */
export interface PendingBlock {
  readonly template: HeaderTemplate | undefined;
  readonly fields: readonly OutgoingField[] | undefined;
}

/** One stream of a connection (RFC 9113, section 5). */
export class Http2Stream {
  readonly id: number;
  readonly connection: Http2Connection;
  receiver: StreamReceiver;
  /** Neither side sends any more, or it was reset. */
  closed = false;
  /** Our side has sent END_STREAM. */
  localEnded = false;
  /** The peer has sent END_STREAM. */
  remoteEnded = false;
  /** A head was sent (server), or received (client). */
  headSent = false;
  headReceived = false;

  // Receiving, for the connection.
  /** Bytes that the peer may still send. */
  receiveWindow: number;
  /** Bytes that were consumed and not yet given back to the peer. */
  consumed = 0;
  /** Bytes of content that came, and that must come (-1: not said). */
  received = 0;
  contentLength = -1;

  // Sending, for the connection.
  sendWindow: number;
  queue: Uint8Array[] = noChunks;
  queueAt = 0;
  /** Place in the first chunk of the queue. */
  chunkAt = 0;
  queuedBytes = 0;
  endQueued = false;
  trailers: PendingBlock | undefined = undefined;
  /** In the connection's list of streams with something to send. */
  scheduled = false;
  ownerWaits = false;

  // For the watch.
  /** True while the owner cannot go on without bytes of the peer. */
  awaitsData = false;
  /** Time since when nothing has moved, and what had moved then; -1 while it moves. */
  stalledSince = -1;
  movedBytes = 0;
  sentBytes = 0;

  constructor(
    connection: Http2Connection,
    id: number,
    receiver: StreamReceiver,
    receiveWindow: number,
    sendWindow: number,
  ) {
    this.connection = connection;
    this.id = id;
    this.receiver = receiver;
    this.receiveWindow = receiveWindow;
    this.sendWindow = sendWindow;
  }

  /** Sends the head of a message: a response's, or informational ones before it. */
  sendHead(
    template: HeaderTemplate | undefined,
    fields: readonly OutgoingField[] | undefined,
    endStream: boolean,
  ): void {
    if (this.closed || this.localEnded) return;
    this.headSent = true;
    this.connection.sendHeaders(this, template, fields, endStream);
  }

  /**
   * Sends bytes of the content; they must stay as they are until they are sent.
   *
   * @returns false when the owner should wait for {@link StreamReceiver.onWritable}
   */
  write(bytes: Uint8Array, endStream = false): boolean {
    if (this.closed || this.localEnded || this.endQueued) return true;
    if (endStream) this.endQueued = true;
    this.connection.sendData(this, bytes);
    if (this.queuedBytes < queueHighWater) return true;
    this.ownerWaits = true;
    return false;
  }

  /**
   * Sends a gRPC message that is not compressed: its prefix and its bytes, which must stay as they are
   * until they are sent.
   *
   * @returns false when the owner should wait for {@link StreamReceiver.onWritable}
   */
  writeMessage(message: Uint8Array | readonly Uint8Array[], endStream = false): boolean {
    if (this.closed || this.localEnded || this.endQueued) return true;
    if (endStream) this.endQueued = true;
    this.connection.sendMessage(this, message);
    if (this.queuedBytes < queueHighWater) return true;
    this.ownerWaits = true;
    return false;
  }

  /** Ends the content, with trailers if there are any. */
  end(template?: HeaderTemplate, fields?: readonly OutgoingField[]): void {
    if (this.closed || this.localEnded || this.endQueued) return;
    this.endQueued = true;
    if (template !== undefined || (fields !== undefined && fields.length > 0)) {
      this.trailers = { template, fields };
    }
    this.connection.sendEnd(this);
  }

  /** Bytes of the content were taken in: the peer may send as many again. */
  consume(bytes: number): void {
    this.connection.consume(this, bytes);
  }

  /** Lets the peer send so many bytes from here on without waiting for us: they have their place. */
  expect(bytes: number): void {
    this.connection.expect(this, bytes);
  }

  /** Ends the stream at once; the receiver is not told. */
  reset(code: number = errorCode.cancel): void {
    this.connection.resetStream(this, code);
  }
}

/** Shared by streams that never queue. */
const noChunks: Uint8Array[] = [];
