import type { Socket } from "node:net";
import { Http2Connection } from "../http2/http2-connection.ts";
import { WheelTimer, watchWheel } from "../timer-wheel.ts";
import type { WireRefusal } from "../wire-refusals.ts";
import type { ChannelSettings } from "./channel-options.ts";
import { cannotReach, dial } from "./dial.ts";

/** Told by a {@link PooledConnection}. */
export interface ConnectionPool {
  /** Calls wait for a stream. */
  readonly hasWaiting: boolean;
  /** Streams may have become free: the first SETTINGS came, others, or a stream ended. */
  onFree(connection: PooledConnection): void;
  /** A stream was opened (1) or ended (-1). */
  onStreams(change: number): void;
  /** No more streams can be opened; those that are open go on. */
  onGoAway(connection: PooledConnection): void;
  /** It is over. `error` says why it never took calls; `undefined` if it was ready once. */
  onGone(connection: PooledConnection, error: Error | undefined): void;
}

/** Time without a call after which a connection does not keep the process alive, in ms. */
const unrefAfterMs = 100;

/** One connection of a channel, from the attempt to open it to its end. */
export class PooledConnection extends WheelTimer {
  /** When the attempt began, by the channel's clock. */
  readonly begunAt: number;
  /** Streams that were opened on it. */
  opened = 0;
  readonly #settings: ChannelSettings;
  readonly #pool: ConnectionPool;
  readonly #socket: Socket;
  #socketError: Error | undefined;
  #http2: Http2Connection | undefined;
  #ready = false;
  #gone = false;
  #timedOut = false;
  readonly #cancelTimeout: () => void;
  #keepsAlive = true;

  constructor(settings: ChannelSettings, pool: ConnectionPool) {
    super();
    this.#settings = settings;
    this.#pool = pool;
    this.begunAt = settings.clock.now();
    this.#socket = dial(settings, this.#onOpen, this.#onFailure);
    this.#cancelTimeout = settings.clock.after(settings.connectTimeoutMs, this.#onTimeout);
  }

  /** The peer's SETTINGS have come. */
  get ready(): boolean {
    return this.#ready;
  }

  get usable(): boolean {
    return this.#http2?.usable ?? true;
  }

  get freeStreams(): number {
    return this.#ready ? this.http2.freeStreams : 0;
  }

  /** Only once it is ready. */
  get http2(): Http2Connection {
    return this.#http2!;
  }

  /** What the system said of the connection that was lost. */
  get socketError(): Error | undefined {
    return this.#socketError;
  }

  /** Lets streams end, then closes. */
  drain(): void {
    if (this.#ready) this.http2.drain();
    else this.destroy();
  }

  destroy(): void {
    this.#socket.destroy();
  }

  /** Whether the process stays alive for it: while calls are open, or wait. */
  keepAlive(keeps: boolean): void {
    if (keeps === this.#keepsAlive) return;
    this.#keepsAlive = keeps;
    if (keeps) this.#socket.ref();
    else this.#socket.unref();
  }

  /** Time has passed since the last call. */
  override fire(): void {
    if (this.#gone || this.http2.openStreams > 0) return;
    if (this.#pool.hasWaiting) watchWheel.arm(this, unrefAfterMs);
    else this.keepAlive(false);
  }

  readonly #onOpen = (socket: Socket): void => {
    socket.on("error", (error) => {
      this.#socketError = error;
    });
    this.#http2 = new Http2Connection(socket, false, this.#settings.limits, this);
  };

  readonly #onFailure = (error: Error): void => {
    this.#end(this.#timedOut ? this.#tooSlow() : error);
  };

  readonly #onTimeout = (): void => {
    this.#timedOut = true;
    this.#socket.destroy();
  };

  #tooSlow(): Error {
    const { targetName, connectTimeoutMs } = this.#settings;
    const problem = this.#http2 ? "it sent no SETTINGS of HTTP/2" : "no connection came about";
    return cannotReach(
      targetName,
      Object.assign(new Error(`${problem} within ${connectTimeoutMs} ms`), { code: "ETIMEDOUT" }),
    );
  }

  #end(error: Error | undefined): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#cancelTimeout();
    watchWheel.disarm(this);
    this.#pool.onGone(this, error);
  }

  // What the connection tells.

  onRequest(): void {
    // A server opens no streams: PUSH_PROMISE is refused by the connection.
  }

  onStreams(connection: Http2Connection, change: number): void {
    this.#pool.onStreams(change);
    if (change > 0) {
      this.opened++;
      if (!this.#keepsAlive) this.keepAlive(true);
      return;
    }
    if (connection.openStreams === 0 && this.dueTick === -1) watchWheel.arm(this, unrefAfterMs);
    if (connection.usable) this.#pool.onFree(this);
  }

  onSettings(): void {
    if (!this.#ready) {
      this.#ready = true;
      this.#cancelTimeout();
      // Nobody may be waiting for it any more.
      watchWheel.arm(this, unrefAfterMs);
    }
    this.#pool.onFree(this);
  }

  onGoAway(): void {
    this.#pool.onGoAway(this);
  }

  onRefusal(refusal: WireRefusal, message: string): void {
    this.#settings.onError(new Error(`${this.#settings.targetName}: ${message} (${refusal})`));
  }

  onClose(): void {
    if (this.#ready) this.#end(undefined);
    else if (this.#timedOut) this.#end(this.#tooSlow());
    else {
      const problem = new Error("it closed the connection before its SETTINGS");
      this.#end(cannotReach(this.#settings.targetName, this.#socketError ?? problem));
    }
  }
}
