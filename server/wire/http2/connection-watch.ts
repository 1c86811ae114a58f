import { WheelTimer, watchWheel } from "../timer-wheel.ts";
import { errorCode } from "./frame.ts";
import type { HeaderBlock } from "./header-block.ts";
import type { Http2Connection } from "./http2-connection.ts";
import type { Http2Stream } from "./http2-stream.ts";

/** How long a peer may do nothing, in ms. */
export interface ConnectionTimes {
  /** For the preface, the acknowledged SETTINGS, and a header block that was begun. */
  readonly handshakeTimeoutMs: number;
  /** Without a stream. */
  readonly idleTimeoutMs: number;
  /** With an answer that it does not take, or a request that does not go on. */
  readonly stallTimeoutMs: number;
  /** Without a word, until it is asked by PING. */
  readonly keepAliveIntervalMs: number;
  /** For the answer to that PING. */
  readonly keepAliveTimeoutMs: number;
}

/**
 * Bytes a second that an answer which waits, or a unary request, moves on at least: a byte now and then would
 * hold its memory for days.
 */
const leastBytesPerSecond = 512;

/** Times a turn of the watch is shorter than the shortest of the times. */
const turnsPerTime = 4;

/** Watches one connection for whatever does not move: one timer for all of its times. */
export class ConnectionWatch extends WheelTimer {
  readonly #connection: Http2Connection;
  readonly #times: ConnectionTimes;
  readonly #turnMs: number;
  /** Bytes that are to move on in the time for a stall. */
  readonly #leastBytes: number;
  #begun = 0;
  #handshakeDone = false;
  /** Since when the same frame or header block has not ended, and which that is. */
  #unfinishedSince = -1;
  #unfinished: HeaderBlock | number = 0;
  #idleSince = 0;
  #heardAt = 0;
  #askedAt = -1;
  #takenBytes = 0;
  #takenAt = 0;
  #closeAt = Number.POSITIVE_INFINITY;
  #stopped = false;

  constructor(connection: Http2Connection, times: ConnectionTimes) {
    super();
    this.#connection = connection;
    this.#times = times;
    this.#leastBytes = Math.ceil((times.stallTimeoutMs / 1000) * leastBytesPerSecond);
    const shortest = Math.min(
      times.handshakeTimeoutMs,
      times.idleTimeoutMs,
      times.stallTimeoutMs,
      times.keepAliveIntervalMs,
      times.keepAliveTimeoutMs,
    );
    this.#turnMs = Math.min(5_000, Math.max(50, shortest / turnsPerTime));
  }

  start(): void {
    const now = performance.now();
    this.#begun = now;
    this.#idleSince = now;
    this.#heardAt = now;
    this.#takenAt = now;
    watchWheel.arm(this, this.#turnMs);
  }

  stop(): void {
    this.#stopped = true;
    watchWheel.disarm(this);
  }

  /** The peer has acknowledged our SETTINGS. */
  onHandshake(): void {
    this.#handshakeDone = true;
  }

  /** The last stream has ended. */
  onIdle(): void {
    this.#idleSince = -1;
  }

  /** Destroys the socket after a time, if the peer does not close before. */
  closeWithin(ms: number): void {
    if (this.#stopped || this.#closeAt !== Number.POSITIVE_INFINITY) return;
    this.#closeAt = performance.now() + ms;
    watchWheel.arm(this, ms);
  }

  override fire(): void {
    if (this.#stopped) return;
    const now = performance.now();
    if (now >= this.#closeAt) {
      this.#connection.destroy();
      return;
    }
    this.#look(now);
    if (!this.#stopped) watchWheel.arm(this, Math.min(this.#turnMs, this.#closeAt - now));
  }

  #look(now: number): void {
    const connection = this.#connection;
    const times = this.#times;
    if (this.#closeAt !== Number.POSITIVE_INFINITY) return;
    if (!this.#handshakeDone && now - this.#begun >= times.handshakeTimeoutMs) {
      connection.abandon(
        "handshake-timeout",
        "no acknowledged SETTINGS in time",
        errorCode.settingsTimeout,
      );
      return;
    }
    if (this.#isUnfinished(now)) {
      connection.abandon(
        "header-timeout",
        "a frame or a header block did not end in time",
        errorCode.enhanceYourCalm,
      );
      connection.destroy();
      return;
    }
    if (this.#isDead(now) || this.#isStuck(now)) {
      connection.destroy();
      return;
    }
    if (connection.openStreams === 0) {
      if (this.#idleSince === -1) this.#idleSince = now;
      else if (now - this.#idleSince >= times.idleTimeoutMs) {
        connection.abandon(undefined, "idle", errorCode.noError);
      }
      return;
    }
    this.#idleSince = -1;
    for (const stream of connection.streams) this.#lookAtStream(stream, now);
  }

  /** True if a frame or a header block takes too long to come. */
  #isUnfinished(now: number): boolean {
    const { reader, headerBlock } = this.#connection;
    const unfinished = headerBlock ?? (reader.isWithinFrame ? reader.frames : undefined);
    if (unfinished === undefined || unfinished !== this.#unfinished) {
      this.#unfinished = unfinished ?? 0;
      this.#unfinishedSince = unfinished === undefined ? -1 : now;
      return false;
    }
    if (this.#unfinishedSince === -1) this.#unfinishedSince = now;
    return now - this.#unfinishedSince >= this.#times.handshakeTimeoutMs;
  }

  /** Asks a silent peer for a sign of life; true if it has given none. */
  #isDead(now: number): boolean {
    if (this.#connection.takeHeard()) {
      this.#heardAt = now;
      this.#askedAt = -1;
      return false;
    }
    if (this.#askedAt !== -1) {
      if (now - this.#askedAt < this.#times.keepAliveTimeoutMs) return false;
      this.#connection.abandon("keepalive", "no answer to PING", errorCode.noError);
      return true;
    }
    if (now - this.#heardAt >= this.#times.keepAliveIntervalMs) {
      this.#askedAt = now;
      this.#connection.askForLife();
    }
    return false;
  }

  /** True if the socket takes nothing of what waits for it. */
  #isStuck(now: number): boolean {
    const { output } = this.#connection;
    if (output.pendingBytes === 0 || output.takenBytes - this.#takenBytes >= this.#leastBytes) {
      this.#takenBytes = output.takenBytes;
      this.#takenAt = now;
      return false;
    }
    if (now - this.#takenAt < this.#times.stallTimeoutMs) return false;
    this.#connection.abandon("slow-read", "the socket is not read", errorCode.enhanceYourCalm);
    return true;
  }

  #lookAtStream(stream: Http2Stream, now: number): void {
    const sends = stream.queuedBytes > 0;
    const moved = stream.sentBytes + stream.received;
    if (
      (!sends && !stream.awaitsData) ||
      moved - stream.movedBytes >= this.#leastBytes ||
      stream.stalledSince === -1
    ) {
      stream.movedBytes = moved;
      stream.stalledSince = now;
      return;
    }
    if (now - stream.stalledSince < this.#times.stallTimeoutMs) return;
    if (sends) this.#connection.giveUp(stream, "slow-read", "the peer does not take the answer");
    else this.#connection.giveUp(stream, "slow-write", "the request does not go on");
  }
}
