import type { Socket } from "node:net";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import {
  type MemoryAccount,
  type MemoryBudget,
  memoryFull,
  unboundedMemory,
} from "../request-memory.ts";
import type { WireRefusal } from "../wire-refusals.ts";
import { BandwidthProbe } from "./bandwidth-probe.ts";
import { PeerSettings, writeSettings } from "./connection-settings.ts";
import { type ConnectionTimes, ConnectionWatch } from "./connection-watch.ts";
import { FloodGuard } from "./flood-guard.ts";
import {
  clientPreface,
  defaultMaxFrameBytes,
  defaultWindowBytes,
  errorCode,
  frameFlag,
  frameType,
  maxWindowBytes,
  settingId,
} from "./frame.ts";
import { FrameReader, type FrameSink } from "./frame-reader.ts";
import { HeaderBlock } from "./header-block.ts";
import type { HeaderList } from "./hpack/header-field.ts";
import { HpackDecoder } from "./hpack/hpack-decoder.ts";
import type { HeaderTemplate, OutgoingField } from "./hpack/hpack-encoder.ts";
import { HpackError } from "./hpack/hpack-error.ts";
import { ConnectionError } from "./http2-error.ts";
import { Http2Stream, type StreamEnd, type StreamReceiver } from "./http2-stream.ts";
import {
  checkTrailers,
  type RequestHead,
  type ResponseHead,
  readRequestHead,
  readResponseHead,
} from "./message-head.ts";
import { OutputBuffer } from "./output-buffer.ts";
import { SendScheduler } from "./send-scheduler.ts";

/** Bytes that a peer may send on a stream at first, and at most, before it waits for its reader. */
const firstStreamWindow = 256 * 1024;
const maxStreamWindow = 8 * 1024 * 1024;
/** Bytes of all streams of a connection that may wait for their readers. */
const connectionWindow = 16 * 1024 * 1024;
/** Largest frame that we take of a peer that sends a lot: fewer frames for those that make use of it. */
const largeFrameBytes = 256 * 1024;
const headerTableBytes = 4096;

/** Streams that we reset: what peers sent before they knew is no fault. */
const maxRecentResets = 256;

/** Time for the peer to read a GOAWAY and to close, in ms. */
const closeLingerMs = 1_000;

/** What a PING of ours was for: the first byte of its payload. */
const pingPurpose = { keepAlive: 1, bandwidth: 2, drain: 3 } as const;

/** Bounds on what the peer of one connection can make us hold. */
export interface ConnectionLimits extends ConnectionTimes {
  /** Streams at once that the peer may open. */
  readonly maxConcurrentStreams: number;
  /** Bytes of a header list (RFC 9113, section 6.5.2). */
  readonly maxHeaderListBytes: number;
  /** Bytes of request messages that are under way. */
  readonly maxConnectionBytes: number;
}

/** Whoever a connection works for. */
export interface ConnectionOwner {
  /** A request; sets the stream's receiver. Servers only. */
  onRequest(stream: Http2Stream, head: RequestHead, endStream: boolean): void;
  /** Streams were opened or closed. */
  onStreams(connection: Http2Connection, open: number): void;
  /** The peer's settings came, for the first time or anew. Clients open streams then. */
  onSettings?(connection: Http2Connection): void;
  /** No new streams can be opened. */
  onGoAway?(connection: Http2Connection): void;
  /** Something of the peer was refused. */
  onRefusal(refusal: WireRefusal, message: string): void;
  /** The socket is closed, and all streams have ended. */
  onClose(connection: Http2Connection): void;
}

/** One HTTP/2 connection, of a server or of a client (RFC 9113). */
export class Http2Connection implements FrameSink, MemoryAccount {
  readonly socket: Socket;
  readonly isServer: boolean;
  readonly peerSettings = new PeerSettings();
  readonly #owner: ConnectionOwner;
  readonly #limits: ConnectionLimits;
  readonly #reader: FrameReader;
  readonly #decoder: HpackDecoder;
  readonly #output: OutputBuffer;
  readonly #sender: SendScheduler;
  readonly #floods: FloodGuard;
  readonly #probe = new BandwidthProbe(firstStreamWindow, maxStreamWindow);
  readonly #watch: ConnectionWatch;
  readonly #streams = new Map<number, Http2Stream>();
  #recentResets: Set<number> | undefined;
  /** The highest stream that the peer has opened, and the next of ours. */
  #lastPeerStream = 0;
  #nextStream = 1;
  #headerBlock: HeaderBlock | undefined;
  /** Bytes of the client's preface that have come. */
  #prefaceSeen = 0;
  #settingsSeen = false;
  #settingsAcked = 0;
  #settingsSent = 0;
  /** What the peer may still send on the connection, and what it was not told of yet. */
  #receiveWindow = connectionWindow;
  #consumed = 0;
  /** Stream and flags of the DATA frame that is being read. */
  #dataStream: Http2Stream | undefined;
  #dataEnds = false;
  #heard = false;
  /** Streams whose answer went out before their request had ended. */
  #answered: Http2Stream[] = [];
  readonly #memory: MemoryBudget;
  #reservedBytes = 0;
  /** Set once: how the connection comes to its end. */
  #ending: "open" | "draining" | "leaving" | "failed" = "open";
  /** Told when the peer can open no stream any more. */
  readonly #onLeft: (() => void)[] = [];
  #goAwayReceived = false;
  #closed = false;

  /** @param memory - that all connections of a server share for the messages of requests */
  constructor(
    socket: Socket,
    isServer: boolean,
    limits: ConnectionLimits,
    owner: ConnectionOwner,
    memory: MemoryBudget = unboundedMemory(),
  ) {
    this.#memory = memory;
    this.socket = socket;
    this.isServer = isServer;
    this.#limits = limits;
    this.#owner = owner;
    this.#reader = new FrameReader(this, defaultMaxFrameBytes);
    this.#decoder = new HpackDecoder({
      maxTableBytes: headerTableBytes,
      maxListBytes: limits.maxHeaderListBytes,
    });
    this.#output = new OutputBuffer(socket, () => this.#sender.pump());
    this.#sender = new SendScheduler(this.#output, this);
    this.#floods = new FloodGuard(limits.maxConcurrentStreams);
    this.#watch = new ConnectionWatch(this, limits);
    if (!isServer) this.#prefaceSeen = clientPreface.length;
    socket.on("data", this.#onData);
    socket.on("end", this.#onSocketEnd);
    socket.on("close", this.#onSocketClose);
    socket.on("error", onSocketError);
    this.#begin();
  }

  get openStreams(): number {
    return this.#streams.size;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** False once streams can no longer be opened, or the other way round, requests are not taken. */
  get usable(): boolean {
    return this.#ending === "open" && !this.#goAwayReceived && !this.#closed;
  }

  /** Streams that may be opened now; 0 until the peer's settings are known. */
  get freeStreams(): number {
    if (!this.usable || !this.#settingsSeen || this.#nextStream > maxWindowBytes) return 0;
    return this.peerSettings.maxConcurrentStreams - this.#streams.size;
  }

  /** Opens a stream with a request. Look at {@link freeStreams} before. */
  open(
    template: HeaderTemplate | undefined,
    fields: readonly OutgoingField[] | undefined,
    endStream: boolean,
    receiver: StreamReceiver,
  ): Http2Stream {
    const stream = this.#addStream(this.#nextStream, receiver);
    this.#nextStream += 2;
    stream.sendHead(template, fields, endStream);
    return stream;
  }

  /**
   * Takes no new streams, and closes when those that are open have ended (section 6.8). The peer is
   * given a round trip to see it.
   *
   * @param onLeft - called once, when that is over and the peer can open no stream any more
   */
  drain(onLeft: () => void = () => {}): void {
    if (this.#ending === "leaving" || this.#ending === "failed" || this.#closed) {
      onLeft();
      return;
    }
    this.#onLeft.push(onLeft);
    if (this.#ending === "draining") return;
    this.#ending = "draining";
    if (!this.isServer) {
      this.#leave();
      return;
    }
    this.#sendGoAway(maxWindowBytes, errorCode.noError);
    this.#ping(pingPurpose.drain);
    this.#output.flush();
  }

  /** Closes at once; streams end. */
  destroy(): void {
    this.socket.destroy();
  }

  // What streams ask for.

  sendHeaders(
    stream: Http2Stream,
    template: HeaderTemplate | undefined,
    fields: readonly OutgoingField[] | undefined,
    endStream: boolean,
  ): void {
    this.#sender.headers(stream, template, fields, endStream);
  }

  sendData(stream: Http2Stream, bytes: Uint8Array): void {
    this.#sender.data(stream, bytes);
  }

  sendMessage(stream: Http2Stream, message: Uint8Array | readonly Uint8Array[]): void {
    this.#sender.message(stream, message);
  }

  reserve(bytes: number): TensorwireError | undefined {
    const { maxConnectionBytes } = this.#limits;
    if (this.#reservedBytes + bytes > maxConnectionBytes) {
      this.#refuse("memory", `messages of ${this.#reservedBytes} bytes are under way`);
      return memoryFull("memory", bytes, maxConnectionBytes);
    }
    const memory = this.#memory;
    if (!memory.take(bytes)) {
      this.#refuse("server-memory", `messages of ${memory.heldBytes} bytes are under way in all`);
      return memoryFull("server-memory", bytes, memory.limitBytes);
    }
    this.#reservedBytes += bytes;
    return undefined;
  }

  unreserve(bytes: number): void {
    this.#reservedBytes -= bytes;
    this.#memory.give(bytes);
  }

  sendEnd(stream: Http2Stream): void {
    this.#sender.end(stream);
  }

  consume(stream: Http2Stream, bytes: number): void {
    this.#consumeConnection(bytes);
    if (stream.closed || stream.remoteEnded) return;
    stream.consumed += bytes;
    if (stream.consumed < this.#probe.window / 2) return;
    stream.receiveWindow += stream.consumed;
    this.#sendWindowUpdate(stream.id, stream.consumed);
    stream.consumed = 0;
  }

  expect(stream: Http2Stream, bytes: number): void {
    if (stream.closed || stream.remoteEnded) return;
    const more = bytes - stream.receiveWindow;
    if (more <= 0) return;
    stream.receiveWindow += more;
    // They are given in advance, and not again when they are consumed.
    stream.consumed -= more;
    this.#sendWindowUpdate(stream.id, more);
  }

  resetStream(stream: Http2Stream, code: number): void {
    if (stream.closed) return;
    this.#sendReset(stream.id, code);
    this.#closeStream(stream);
  }

  /** Our side of a stream has ended. */
  onLocalEnd(stream: Http2Stream): void {
    stream.localEnded = true;
    if (stream.remoteEnded) this.#closeStream(stream);
    else if (this.isServer) this.#stopRequest(stream);
  }

  /**
   * The request is answered before it has ended: its peer need not send the rest (section 8.1). What is
   * on its way in this turn of the event loop may still end it.
   */
  #stopRequest(stream: Http2Stream): void {
    this.#answered.push(stream);
    if (this.#answered.length === 1) setImmediate(this.#stopRequests);
  }

  readonly #stopRequests = (): void => {
    const answered = this.#answered;
    this.#answered = [];
    for (const stream of answered) this.resetStream(stream, errorCode.noError);
  };

  onDataSent(bytes: number): void {
    this.#floods.sent(bytes);
  }

  // Reading.

  readonly #onData = (chunk: Buffer): void => {
    this.#heard = true;
    this.#output.hold();
    try {
      let rest = chunk;
      if (this.#prefaceSeen < clientPreface.length) rest = this.#readPreface(chunk);
      this.#reader.read(rest);
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#output.release();
    }
  };

  #readPreface(chunk: Buffer): Buffer {
    const seen = this.#prefaceSeen;
    const taken = Math.min(chunk.length, clientPreface.length - seen);
    if (chunk.compare(clientPreface, seen, seen + taken, 0, taken) !== 0) {
      throw new ConnectionError(errorCode.protocolError, "the connection does not begin as HTTP/2");
    }
    this.#prefaceSeen += taken;
    return chunk.subarray(taken);
  }

  onFrameStart(type: number, streamId: number): void {
    if (!this.#settingsSeen && type !== frameType.settings) {
      throw new ConnectionError(errorCode.protocolError, "the first frame is not SETTINGS");
    }
    const block = this.#headerBlock;
    if (block && (type !== frameType.continuation || streamId !== block.streamId)) {
      throw new ConnectionError(
        errorCode.protocolError,
        `a frame within the header block of stream ${block.streamId} that is not of it`,
      );
    }
  }

  onFrame(
    type: number,
    flags: number,
    streamId: number,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    switch (type) {
      case frameType.data:
        this.#onPaddedData(flags, streamId, bytes, start, end);
        return;
      case frameType.headers:
        this.#onHeaders(flags, streamId, bytes, start, end);
        return;
      case frameType.continuation:
        this.#onContinuation(flags, bytes, start, end);
        return;
      case frameType.rstStream:
        this.#onReset(streamId, bytes, start, end);
        return;
      case frameType.windowUpdate:
        this.#onWindowUpdate(streamId, bytes, start, end);
        return;
      case frameType.settings:
        this.#onSettings(flags, streamId, bytes, start, end);
        return;
      case frameType.ping:
        this.#onPing(flags, streamId, bytes, start, end);
        return;
      case frameType.goAway:
        this.#onGoAway(streamId, bytes, start, end);
        return;
      case frameType.priority:
        this.#onPriority(streamId, bytes, start, end);
        return;
      case frameType.pushPromise:
        throw new ConnectionError(errorCode.protocolError, "PUSH_PROMISE is not allowed");
      default:
        this.#floods.onControlFrame();
    }
  }

  // HEADERS (section 6.2) and CONTINUATION (section 6.10).

  #onHeaders(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw onStreamZero("HEADERS");
    let from = start;
    let to = end;
    if (flags & frameFlag.padded) {
      to -= from < to ? bytes[from]! : 0;
      from++;
    }
    let dependsOnItself = false;
    if (flags & frameFlag.priority) {
      dependsOnItself = to - from >= 5 && (bytes.readUInt32BE(from) & maxWindowBytes) === streamId;
      from += 5;
    }
    if (from > to) throw badLength("HEADERS", end - start, "its padding and priority");
    const endStream = (flags & frameFlag.endStream) !== 0;
    if (flags & frameFlag.endHeaders) {
      this.#onHeaderBlock(streamId, endStream, dependsOnItself, bytes, from, to);
      return;
    }
    if (from === to) this.#floods.onEmptyFrame();
    const block = new HeaderBlock(
      streamId,
      endStream,
      dependsOnItself,
      this.#limits.maxHeaderListBytes * 2,
    );
    block.add(bytes, from, to);
    this.#headerBlock = block;
  }

  #onContinuation(flags: number, bytes: Buffer, start: number, end: number): void {
    const block = this.#headerBlock;
    if (!block) throw new ConnectionError(errorCode.protocolError, "CONTINUATION without HEADERS");
    const endHeaders = (flags & frameFlag.endHeaders) !== 0;
    if (start === end && !endHeaders) this.#floods.onEmptyFrame();
    block.add(bytes, start, end);
    if (!endHeaders) return;
    this.#headerBlock = undefined;
    const whole = block.whole();
    this.#onHeaderBlock(
      block.streamId,
      block.endStream,
      block.dependsOnItself,
      whole,
      0,
      whole.length,
    );
  }

  #onHeaderBlock(
    streamId: number,
    endStream: boolean,
    dependsOnItself: boolean,
    bytes: Buffer,
    start: number,
    end: number,
  ): void {
    let list: HeaderList;
    try {
      list = this.#decoder.decode(bytes, start, end);
    } catch (error) {
      if (!(error instanceof HpackError)) throw error;
      throw new ConnectionError(errorCode.compressionError, error.message, "compression");
    }
    const stream = this.#streams.get(streamId);
    if (stream) {
      if (dependsOnItself)
        this.#failStream(stream, errorCode.protocolError, "it depends on itself");
      else this.#onBlockOfStream(stream, list, endStream);
      return;
    }
    if (!this.isServer || streamId % 2 === 0) {
      if (this.#isIdle(streamId)) throw onIdleStream("HEADERS", streamId);
      return;
    }
    if (streamId <= this.#lastPeerStream) {
      if (this.#recentResets?.has(streamId)) return;
      throw new ConnectionError(
        errorCode.streamClosed,
        `HEADERS on stream ${streamId}, which is closed`,
      );
    }
    this.#openPeerStream(streamId, list, endStream, dependsOnItself);
  }

  #openPeerStream(
    streamId: number,
    list: HeaderList,
    endStream: boolean,
    dependsOnItself: boolean,
  ): void {
    // After the last GOAWAY what it did not name is not looked at; the peer sends it elsewhere.
    if (this.#ending === "leaving" || this.#ending === "failed") return;
    this.#lastPeerStream = streamId;
    if (this.#streams.size >= this.#limits.maxConcurrentStreams) {
      this.#refuse("streams", `more than ${this.#limits.maxConcurrentStreams} streams at once`);
      this.#floods.onReset();
      this.#sendReset(streamId, errorCode.refusedStream);
      return;
    }
    this.#floods.worked();
    const stream = this.#addStream(streamId, unclaimed);
    if (list.truncated) {
      this.#refuse("header-list-size", `a header list of ${list.size} bytes`);
      stream.remoteEnded = endStream;
      stream.sendHead(undefined, tooLargeFields, true);
      return;
    }
    let head = list.head as RequestHead | string | undefined;
    if (head === undefined) {
      head = readRequestHead(list);
      list.head = head;
    }
    if (typeof head === "string" || dependsOnItself) {
      const why = typeof head === "string" ? head : "it depends on itself";
      this.#failStream(stream, errorCode.protocolError, why);
      return;
    }
    stream.contentLength = head.contentLength;
    if (endStream) {
      if (head.contentLength > 0) {
        this.#failStream(
          stream,
          errorCode.protocolError,
          "it has no content, and a content-length",
        );
        return;
      }
      stream.remoteEnded = true;
    }
    this.#owner.onRequest(stream, head, endStream);
  }

  /** Trailers, or a head that answers a request of ours. */
  #onBlockOfStream(stream: Http2Stream, list: HeaderList, endStream: boolean): void {
    if (stream.remoteEnded) {
      this.#failStream(stream, errorCode.streamClosed, "HEADERS after its end");
      return;
    }
    this.#floods.worked();
    if (list.truncated) {
      this.#refuse("header-list-size", `a header list of ${list.size} bytes`);
      this.#failStream(stream, errorCode.enhanceYourCalm, "its header list is too large", false);
      return;
    }
    if (!this.isServer && !stream.headReceived) {
      let head = list.head as ResponseHead | string | undefined;
      if (head === undefined) {
        head = readResponseHead(list);
        list.head = head;
      }
      if (typeof head === "string") {
        this.#failStream(stream, errorCode.protocolError, head);
        return;
      }
      if (head.status < 200) {
        if (endStream || head.status === 101) {
          this.#failStream(stream, errorCode.protocolError, `status ${head.status} ends no stream`);
        } else stream.receiver.onHead?.(head, false);
        return;
      }
      stream.headReceived = true;
      // An answer to HEAD has the length of content that does not come.
      stream.contentLength = endStream ? -1 : head.contentLength;
      if (endStream) stream.remoteEnded = true;
      stream.receiver.onHead?.(head, endStream);
      if (endStream) this.#afterRemoteEnd(stream);
      return;
    }
    const problem = endStream ? checkTrailers(list) : "trailers do not end the stream";
    if (problem !== undefined) {
      this.#failStream(stream, errorCode.protocolError, problem);
      return;
    }
    if (!this.#hasWholeContent(stream)) return;
    stream.remoteEnded = true;
    stream.receiver.onTrailers(list.fields);
    this.#afterRemoteEnd(stream);
  }

  // DATA (section 6.1).

  onDataStart(flags: number, streamId: number, length: number): void {
    this.#dataEnds = (flags & frameFlag.endStream) !== 0;
    this.#dataStream = this.#admitData(streamId, length);
    if (length === 0 && !this.#dataEnds) this.#floods.onEmptyFrame();
  }

  onDataPart(bytes: Buffer, last: boolean): void {
    const stream = this.#dataStream;
    if (!stream || stream.closed) {
      this.#consumeConnection(bytes.length);
      return;
    }
    this.#onContent(stream, bytes, last && this.#dataEnds);
  }

  #onPaddedData(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    const stream = this.#admitData(streamId, end - start);
    const padding = start < end ? bytes[start]! + 1 : 1;
    if (padding > end - start) throw badLength("DATA", end - start, "its padding");
    const endStream = (flags & frameFlag.endStream) !== 0;
    if (end - start === padding && !endStream) this.#floods.onEmptyFrame();
    if (!stream) {
      this.#consumeConnection(end - start);
      return;
    }
    this.consume(stream, padding);
    this.#onContent(stream, bytes.subarray(start + 1, end - padding + 1), endStream);
  }

  /** Counts DATA against the windows; gives the stream if it takes them. */
  #admitData(streamId: number, length: number): Http2Stream | undefined {
    if (streamId === 0) throw onStreamZero("DATA");
    this.#receiveWindow -= length;
    if (this.#receiveWindow < 0) {
      throw new ConnectionError(
        errorCode.flowControlError,
        "more DATA than the window of the connection",
        "flow-control",
      );
    }
    const stream = this.#streams.get(streamId);
    if (!stream) {
      if (this.#isIdle(streamId)) throw onIdleStream("DATA", streamId);
      // A server may have sent any amount before it learns that its client gave up a stream.
      if (this.isServer && !this.#recentResets?.has(streamId) && this.#ending !== "leaving") {
        this.#floods.onReset();
        this.#sendReset(streamId, errorCode.streamClosed);
      }
      return undefined;
    }
    if (stream.remoteEnded) {
      this.#failStream(stream, errorCode.streamClosed, "DATA after its end");
      return undefined;
    }
    if (!this.isServer && !stream.headReceived) {
      this.#failStream(stream, errorCode.protocolError, "DATA before HEADERS");
      return undefined;
    }
    stream.receiveWindow -= length;
    if (stream.receiveWindow < 0) {
      this.#refuse("flow-control", "more DATA than the window of the stream");
      this.#failStream(stream, errorCode.flowControlError, "more DATA than its window", false);
      return undefined;
    }
    if (length > 0) {
      this.#floods.worked();
      if (this.#probe.onData(length, stream.receiveWindow)) this.#ping(pingPurpose.bandwidth);
    }
    return stream;
  }

  #onContent(stream: Http2Stream, bytes: Buffer, endStream: boolean): void {
    stream.received += bytes.length;
    if (stream.contentLength !== -1 && stream.received > stream.contentLength) {
      this.#consumeConnection(bytes.length);
      this.#failStream(stream, errorCode.protocolError, "more content than its content-length");
      return;
    }
    if (endStream) {
      if (!this.#hasWholeContent(stream)) {
        this.#consumeConnection(bytes.length);
        return;
      }
      stream.remoteEnded = true;
    }
    if (stream.localEnded && this.isServer) {
      this.#consumeConnection(bytes.length);
      if (endStream) this.#afterRemoteEnd(stream);
      return;
    }
    if (bytes.length > 0 || endStream) stream.receiver.onData(bytes, endStream);
    if (endStream) this.#afterRemoteEnd(stream);
  }

  #hasWholeContent(stream: Http2Stream): boolean {
    if (stream.contentLength === -1 || stream.received === stream.contentLength) return true;
    this.#failStream(stream, errorCode.protocolError, "less content than its content-length");
    return false;
  }

  #afterRemoteEnd(stream: Http2Stream): void {
    if (stream.localEnded && !stream.closed) this.#closeStream(stream);
  }

  // Other frames.

  #onReset(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw badLength("RST_STREAM", end - start, "4");
    if (streamId === 0) throw onStreamZero("RST_STREAM");
    const stream = this.#streams.get(streamId);
    const code = bytes.readUInt32BE(start);
    if (!stream) {
      if (this.#isIdle(streamId)) this.#onIdleReset(streamId, code);
      else this.#floods.onControlFrame();
      return;
    }
    if (this.isServer) this.#floods.onReset();
    this.#endStream(stream, {
      code,
      by: "peer",
      unprocessed: code === errorCode.refusedStream,
      message: `the peer reset the stream with code ${code}`,
    });
  }

  /**
   * A reset of a stream that was never opened is a connection error (section 5.1). gRPC's C core, and with
   * it Python, C++ and Ruby, sends one for a call that is cancelled before its HEADERS have left
   * (https://github.com/grpc/grpc/issues/19655). From a client that has opened streams before, it is taken
   * for a stream that was opened and closed: the other calls of its connection are not to end for it.
   */
  #onIdleReset(streamId: number, code: number): void {
    const isCancelled = code === errorCode.cancel && (streamId & 1) === 1;
    if (!this.isServer || this.#lastPeerStream === 0 || !isCancelled) {
      throw onIdleStream("RST_STREAM", streamId);
    }
    this.#lastPeerStream = streamId;
    this.#floods.onReset();
  }

  #onWindowUpdate(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (end - start !== 4) throw badLength("WINDOW_UPDATE", end - start, "4");
    const increment = bytes.readUInt32BE(start) & maxWindowBytes;
    this.#floods.onControlFrame();
    if (streamId === 0) {
      if (increment === 0) {
        throw new ConnectionError(errorCode.protocolError, "WINDOW_UPDATE of 0");
      }
      if (!this.#sender.openConnection(increment)) {
        throw new ConnectionError(
          errorCode.flowControlError,
          "WINDOW_UPDATE beyond 2^31-1",
          "flow-control",
        );
      }
      return;
    }
    const stream = this.#streams.get(streamId);
    if (!stream) {
      if (this.#isIdle(streamId)) throw onIdleStream("WINDOW_UPDATE", streamId);
      if (increment === 0) {
        // A breach whether the stream has just ended or not.
        this.#floods.onReset();
        this.#sendReset(streamId, errorCode.protocolError);
      }
      return;
    }
    if (increment === 0) {
      this.#failStream(stream, errorCode.protocolError, "WINDOW_UPDATE of 0");
    } else if (!this.#sender.openStream(stream, increment)) {
      this.#refuse("flow-control", "WINDOW_UPDATE beyond 2^31-1");
      this.#failStream(stream, errorCode.flowControlError, "WINDOW_UPDATE beyond 2^31-1", false);
    }
  }

  #onSettings(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "SETTINGS on a stream");
    if (flags & frameFlag.ack) {
      if (end !== start) throw badLength("SETTINGS with ACK", end - start, "0");
      if (!this.#settingsSeen) {
        throw new ConnectionError(errorCode.protocolError, "the first SETTINGS has ACK");
      }
      this.#floods.onControlFrame();
      if (this.#settingsAcked < this.#settingsSent) this.#settingsAcked++;
      if (this.#settingsAcked === this.#settingsSent) this.#watch.onHandshake();
      return;
    }
    if ((end - start) % 6 !== 0) throw badLength("SETTINGS", end - start, "a multiple of 6");
    this.#floods.onControlFrame();
    const { initialWindowSize } = this.peerSettings;
    this.peerSettings.read(bytes, start, end);
    this.#sender.encoder.setPeerTableBytes(this.peerSettings.headerTableSize);
    this.#sender.maxFrameBytes = this.peerSettings.maxFrameSize;
    // Before anything that the new settings let go.
    this.#output.writeFrame(frameType.settings, frameFlag.ack, 0, nothing);
    const change = this.peerSettings.initialWindowSize - initialWindowSize;
    if (change !== 0) this.#shiftSendWindows(change);
    this.#settingsSeen = true;
    this.#owner.onSettings?.(this);
  }

  #shiftSendWindows(change: number): void {
    for (const stream of [...this.#streams.values()]) {
      if (!this.#sender.openStream(stream, change)) {
        throw new ConnectionError(
          errorCode.flowControlError,
          "SETTINGS_INITIAL_WINDOW_SIZE makes a window larger than 2^31-1",
          "flow-control",
        );
      }
    }
  }

  #onPing(flags: number, streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "PING on a stream");
    if (end - start !== 8) throw badLength("PING", end - start, "8");
    this.#floods.onControlFrame();
    if ((flags & frameFlag.ack) === 0) {
      this.#output.writeFrame(frameType.ping, frameFlag.ack, 0, bytes.subarray(start, end));
      return;
    }
    switch (bytes[start]) {
      case pingPurpose.bandwidth:
        if (this.#probe.onAnswer()) this.#growStreamWindows();
        return;
      case pingPurpose.drain:
        if (this.#ending === "draining") this.#leave();
        return;
    }
  }

  #growStreamWindows(): void {
    const { window } = this.#probe;
    const before = this.#announcedWindow;
    this.#announcedWindow = window;
    this.#reader.maxFrameBytes = largeFrameBytes;
    this.#sendSettings([
      [settingId.initialWindowSize, window],
      [settingId.maxFrameSize, largeFrameBytes],
    ]);
    for (const stream of [...this.#streams.values()]) stream.receiveWindow += window - before;
  }

  #announcedWindow = firstStreamWindow;

  #onGoAway(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId !== 0) throw new ConnectionError(errorCode.protocolError, "GOAWAY on a stream");
    if (end - start < 8) throw badLength("GOAWAY", end - start, "at least 8");
    this.#floods.onControlFrame();
    this.#goAwayReceived = true;
    if (!this.isServer) {
      const last = bytes.readUInt32BE(start) & maxWindowBytes;
      const code = bytes.readUInt32BE(start + 4);
      for (const stream of [...this.#streams.values()]) {
        if (stream.id <= last) continue;
        this.#endStream(stream, {
          code,
          by: "peer",
          unprocessed: true,
          message: `the peer goes away (code ${code}) and did not process the stream`,
        });
      }
    }
    this.#owner.onGoAway?.(this);
    if (this.#streams.size === 0) this.#leave();
  }

  #onPriority(streamId: number, bytes: Buffer, start: number, end: number): void {
    if (streamId === 0) throw onStreamZero("PRIORITY");
    this.#floods.onControlFrame();
    const stream = this.#streams.get(streamId);
    const bad =
      end - start !== 5
        ? errorCode.frameSizeError
        : (bytes.readUInt32BE(start) & maxWindowBytes) === streamId
          ? errorCode.protocolError
          : undefined;
    if (bad === undefined) return;
    if (stream) this.#failStream(stream, bad, "its PRIORITY is not as RFC 9113 says");
    else {
      this.#floods.onReset();
      this.#sendReset(streamId, bad);
    }
  }

  // Streams.

  #addStream(id: number, receiver: StreamReceiver): Http2Stream {
    const stream = new Http2Stream(
      this,
      id,
      receiver,
      this.#announcedWindow,
      this.peerSettings.initialWindowSize,
    );
    this.#streams.set(id, stream);
    this.#owner.onStreams(this, 1);
    return stream;
  }

  #isIdle(streamId: number): boolean {
    const ofPeer = (streamId % 2 === 1) === this.isServer;
    return ofPeer ? streamId > this.#lastPeerStream : streamId >= this.#nextStream;
  }

  #closeStream(stream: Http2Stream): void {
    stream.closed = true;
    this.#streams.delete(stream.id);
    this.#sender.drop(stream);
    this.#owner.onStreams(this, -1);
    stream.receiver.onClosed?.();
    if (this.#streams.size > 0) return;
    this.#watch.onIdle();
    if (this.#ending === "leaving") this.#closeSocket();
    else if (this.#goAwayReceived) this.#leave();
  }

  #endStream(stream: Http2Stream, end: StreamEnd): void {
    if (stream.closed) return;
    this.#closeStream(stream);
    stream.receiver.onEnd(end);
  }

  /** Ends a stream for what the peer did on it (section 5.4.2). */
  #failStream(stream: Http2Stream, code: number, message: string, count = true): void {
    if (count) this.#refuse("protocol", `stream ${stream.id}: ${message}`);
    this.#floods.onReset();
    this.#sendReset(stream.id, code);
    this.#endStream(stream, { code, by: "local", unprocessed: false, message });
  }

  /** For the watch: ends a stream that does not move. */
  giveUp(stream: Http2Stream, refusal: WireRefusal, message: string): void {
    this.#refuse(refusal, `stream ${stream.id}: ${message}`);
    this.#sendReset(stream.id, errorCode.cancel);
    this.#endStream(stream, { code: errorCode.cancel, by: "local", unprocessed: false, message });
  }

  // For the watch.

  /** The header block that was begun and has not ended. */
  get headerBlock(): HeaderBlock | undefined {
    return this.#headerBlock;
  }

  /** Whether anything came since the last time. */
  takeHeard(): boolean {
    const heard = this.#heard;
    this.#heard = false;
    return heard;
  }

  get streams(): readonly Http2Stream[] {
    return [...this.#streams.values()];
  }

  get reader(): FrameReader {
    return this.#reader;
  }

  get output(): OutputBuffer {
    return this.#output;
  }

  askForLife(): void {
    this.#ping(pingPurpose.keepAlive);
  }

  /** Closes a connection that is no use any more. */
  abandon(refusal: WireRefusal | undefined, message: string, code: number): void {
    if (refusal) this.#refuse(refusal, message);
    if (this.#ending !== "failed") this.#sendGoAway(this.#lastPeerStream, code);
    this.#output.flush();
    this.#ending = "failed";
    this.#closeSocket();
  }

  // Sending frames of the connection.

  #begin(): void {
    const settings: [number, number][] = [
      [settingId.initialWindowSize, firstStreamWindow],
      [settingId.maxHeaderListSize, this.#limits.maxHeaderListBytes],
    ];
    if (this.isServer) {
      settings.push([settingId.maxConcurrentStreams, this.#limits.maxConcurrentStreams]);
    } else {
      settings.push([settingId.enablePush, 0]);
      const at = this.#output.reserve(clientPreface.length);
      this.#output.buffer.set(clientPreface, at);
      this.#output.advance(at + clientPreface.length);
    }
    this.#sendSettings(settings);
    this.#sendWindowUpdate(0, connectionWindow - defaultWindowBytes);
    this.#watch.start();
  }

  #sendSettings(settings: readonly (readonly [number, number])[]): void {
    this.#settingsSent++;
    this.#output.writeFrame(frameType.settings, 0, 0, writeSettings(settings));
  }

  #sendReset(streamId: number, code: number): void {
    this.#recentResets ??= new Set();
    this.#recentResets.add(streamId);
    if (this.#recentResets.size > maxRecentResets) {
      for (const oldest of this.#recentResets) {
        this.#recentResets.delete(oldest);
        break;
      }
    }
    fourBytes.writeUInt32BE(code);
    this.#output.writeFrame(frameType.rstStream, 0, streamId, fourBytes);
  }

  #consumeConnection(bytes: number): void {
    this.#consumed += bytes;
    if (this.#consumed < connectionWindow / 2) return;
    this.#receiveWindow += this.#consumed;
    this.#sendWindowUpdate(0, this.#consumed);
    this.#consumed = 0;
  }

  #sendWindowUpdate(streamId: number, bytes: number): void {
    fourBytes.writeUInt32BE(bytes);
    this.#output.writeFrame(frameType.windowUpdate, 0, streamId, fourBytes);
  }

  #ping(purpose: number): void {
    const payload = Buffer.alloc(8);
    payload[0] = purpose;
    this.#output.writeFrame(frameType.ping, 0, 0, payload);
  }

  #sendGoAway(lastStreamId: number, code: number): void {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(lastStreamId, 0);
    payload.writeUInt32BE(code, 4);
    this.#output.writeFrame(frameType.goAway, 0, 0, payload);
  }

  // The end.

  #refuse(refusal: WireRefusal, message: string): void {
    this.#owner.onRefusal(refusal, message);
  }

  /** The second GOAWAY of a drain, or the only one of a client. */
  #leave(): void {
    if (this.#ending === "leaving" || this.#ending === "failed") return;
    this.#ending = "leaving";
    this.#sendGoAway(this.#lastPeerStream, errorCode.noError);
    this.#tellLeft();
    if (this.#streams.size === 0) this.#closeSocket();
  }

  #tellLeft(): void {
    for (const onLeft of this.#onLeft.splice(0)) onLeft();
  }

  #fail(error: unknown): void {
    const failure =
      error instanceof ConnectionError
        ? error
        : new ConnectionError(errorCode.internalError, `a fault of ours: ${String(error)}`);
    this.#reader.stop();
    this.#headerBlock = undefined;
    this.abandon(failure.refusal, failure.message, failure.code);
    this.#endStreams(failure.code, failure.message, "local");
    if (!(error instanceof ConnectionError)) throw error;
  }

  #closeSocket(): void {
    // What the peer still sends is read and dropped: to close now would make the kernel reset the
    // connection, and the GOAWAY could be lost.
    this.#reader.stop();
    this.#output.end();
    this.#watch.closeWithin(closeLingerMs);
  }

  #endStreams(code: number, message: string, by: "local" | "connection"): void {
    for (const stream of [...this.#streams.values()]) {
      this.#endStream(stream, { code, by, unprocessed: false, message });
    }
  }

  readonly #onSocketEnd = (): void => {
    // Nobody half-closes HTTP/2: the peer is gone.
    this.socket.destroy();
  };

  readonly #onSocketClose = (): void => {
    if (this.#closed) return;
    this.#tellLeft();
    this.#closed = true;
    this.#watch.stop();
    this.#output.drop();
    this.#endStreams(errorCode.cancel, "the connection was lost", "connection");
    this.#owner.onClose(this);
  };
}

const nothing = new Uint8Array(0);
/** Payload of a frame that is written at once. */
const fourBytes = Buffer.alloc(4);

const tooLargeFields: readonly OutgoingField[] = [
  [":status", "431"],
  ["content-length", "0"],
];

/** Receiver of a stream before its owner has set one. */
const unclaimed: StreamReceiver = {
  onData() {},
  onTrailers() {},
  onEnd() {},
};

function onSocketError(): void {
  // 'close' follows, and says all.
}

function badLength(frame: string, given: number, expected: string): ConnectionError {
  return new ConnectionError(
    errorCode.frameSizeError,
    `${frame} has ${given} bytes, expected ${expected}`,
  );
}

function onStreamZero(frame: string): ConnectionError {
  return new ConnectionError(errorCode.protocolError, `${frame} on stream 0`);
}

function onIdleStream(frame: string, streamId: number): ConnectionError {
  return new ConnectionError(
    errorCode.protocolError,
    `${frame} on stream ${streamId}, which is idle`,
  );
}
