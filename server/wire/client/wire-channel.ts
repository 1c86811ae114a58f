import { Code } from "@connectrpc/connect";
import { Backoff } from "./backoff.ts";
import {
  type ChannelSettings,
  channelSettings,
  type WireChannelOptions,
} from "./channel-options.ts";
import { callUnary, type UnaryAnswer, type UnaryOptions } from "./grpc-unary-call.ts";
import { type ConnectionPool, PooledConnection } from "./pooled-connection.ts";
import { WaitingCalls } from "./waiting-calls.ts";
import { type CallHost, WireCall, type WireCallReceiver, type WireRequest } from "./wire-call.ts";
import { WireCallError } from "./wire-call-error.ts";

/** Counts of a channel, for metrics. */
export interface ChannelStats {
  /** Connections that take calls, or let theirs end. */
  readonly connections: number;
  /** Attempts to connect that are under way. */
  readonly connecting: number;
  readonly streams: number;
  /** Calls that wait for a stream. */
  readonly queued: number;
  /** Attempts to connect after the first, since the start. */
  readonly reconnects: number;
  /** Attempts that failed, since the start. */
  readonly failedConnects: number;
  /** Calls that were sent again because the server did not process them, since the start. */
  readonly retries: number;
}

/**
 * Calls to one server over HTTP/2. Connects with the first call; calls share connections as far as the
 * server's SETTINGS_MAX_CONCURRENT_STREAMS allows, then another one is opened, then they wait in turn.
 */
export class WireChannel implements CallHost, ConnectionPool {
  readonly scheme: "http" | "https";
  readonly #settings: ChannelSettings;
  readonly #backoff: Backoff;
  readonly #waiting = new WaitingCalls();
  /** Connections, also those that are only being opened, or only let their streams end. */
  readonly #connections: PooledConnection[] = [];
  /** Until when no attempt is made, by the clock; and why. */
  #notBefore = Number.NEGATIVE_INFINITY;
  #lastFailure: Error | undefined;
  #cancelRetry: (() => void) | undefined;
  #state: "open" | "closing" | "destroyed" = "open";
  #destroyed: WireCallError | undefined;
  #closed: PromiseWithResolvers<void> | undefined;
  #calls = 0;
  #liveCalls = 0;
  #pumping = false;
  #streams = 0;
  #connects = 0;
  #failedConnects = 0;
  #retries = 0;

  /** @throws RangeError for a setting that is no count */
  constructor(options: WireChannelOptions) {
    this.#settings = channelSettings(options);
    this.scheme = this.#settings.tls ? "https" : "http";
    this.#backoff = new Backoff(this.#settings.backoff, this.#settings.random);
  }

  get targetName(): string {
    return this.#settings.targetName;
  }

  get authority(): string {
    return this.#settings.authority;
  }

  get replayBytes(): number {
    return this.#settings.replayBytes;
  }

  get destroyed(): WireCallError | undefined {
    return this.#destroyed;
  }

  get lastFailure(): Error | undefined {
    return this.#lastFailure;
  }

  get stats(): ChannelStats {
    const ready = this.#connections.filter((connection) => connection.ready).length;
    return {
      connections: ready,
      connecting: this.#connections.length - ready,
      streams: this.#streams,
      queued: this.#waiting.size,
      reconnects: Math.max(0, this.#connects - 1),
      failedConnects: this.#failedConnects,
      retries: this.#retries,
    };
  }

  /**
   * Begins a call. The receiver is told nothing before this returns, except
   * {@link WireCallReceiver.onWritable}.
   */
  call(request: WireRequest, receiver: WireCallReceiver): WireCall {
    const call = new WireCall(this, request, receiver, this.#calls++);
    this.#liveCalls++;
    const refusal = this.#refusalOf(call);
    if (refusal) {
      call.refuse(refusal);
      return call;
    }
    this.#waiting.push(call);
    this.#pump();
    return call;
  }

  /**
   * Makes a unary call of gRPC, from message bytes to message bytes.
   *
   * @param path - `/package.Service/Method`
   * @param message - in one piece or several; must stay as it is until the call is over
   * @throws WireCallError if no whole answer came; a status that the server gave is in the answer
   */
  callUnary(
    path: string,
    message: Uint8Array | readonly Uint8Array[],
    options?: UnaryOptions,
  ): Promise<UnaryAnswer> {
    return callUnary(this, path, message, options);
  }

  /** Takes no more calls, lets those that were made end, and closes. Resolves when all is closed. */
  close(): Promise<void> {
    this.#closed ??= Promise.withResolvers();
    if (this.#state === "open") this.#state = "closing";
    this.#closeIfOver();
    return this.#closed.promise;
  }

  /** Closes at once; calls that are not over fail with CANCELED. */
  destroy(): void {
    this.#state = "destroyed";
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
    const error = new WireCallError(
      "cancelled",
      Code.Canceled,
      `the channel to ${this.targetName} was destroyed`,
    );
    this.#destroyed = error;
    for (const call of this.#waiting.all()) call.fail(error);
    for (const connection of [...this.#connections]) connection.destroy();
    this.#closeIfOver();
  }

  // For calls.

  forget(call: WireCall): void {
    this.#waiting.remove(call);
    if (this.#waiting.size > 0) return;
    this.#cancelRetry?.();
    this.#cancelRetry = undefined;
  }

  again(call: WireCall): void {
    this.#retries++;
    this.#waiting.putBack(call);
    // The connection may be at work on its end: what is to be done follows when it is through.
    queueMicrotask(this.#onTurn);
  }

  onOver(): void {
    this.#liveCalls--;
    if (this.#state !== "open") this.#closeIfOver();
  }

  // For connections.

  get hasWaiting(): boolean {
    return this.#waiting.size > 0;
  }

  onStreams(change: number): void {
    this.#streams += change;
  }

  onFree(connection: PooledConnection): void {
    if (connection.opened === 0) this.#lastFailure = undefined;
    if (this.#waiting.size > 0) this.#pump();
  }

  onGoAway(): void {
    if (this.#waiting.size > 0) queueMicrotask(this.#onTurn);
  }

  onGone(connection: PooledConnection, error: Error | undefined): void {
    this.#connections.splice(this.#connections.indexOf(connection), 1);
    const { clock } = this.#settings;
    if (error) {
      this.#failedConnects++;
      this.#backOff(connection, error);
    } else if (connection.opened > 0) this.#backoff.reset();
    else if (clock.now() - connection.begunAt < this.#settings.backoff.initialMs) {
      // A server that takes connections to close them at once is not asked in a loop.
      const problem = `${this.targetName} closed the connection before it took a call`;
      this.#backOff(connection, new Error(problem));
    }
    if (this.#state !== "open") this.#closeIfOver();
    if (this.#state !== "destroyed") this.#pump();
  }

  // The pool.

  readonly #onTurn = (): void => {
    if (this.#state !== "destroyed") this.#pump();
  };

  /** Why a call cannot even wait. */
  #refusalOf({ request }: WireCall): WireCallError | undefined {
    if (this.#state !== "open") {
      return new WireCallError(
        "unavailable",
        Code.Unavailable,
        `the channel to ${this.targetName} is closed and takes no more calls`,
      );
    }
    const { signal, deadlineMs = 1 } = request;
    if (deadlineMs <= 0) {
      return new WireCallError(
        "deadline",
        Code.DeadlineExceeded,
        `the deadline of ${deadlineMs} ms had passed before the call began`,
      );
    }
    if (signal?.aborted) {
      return new WireCallError(
        "cancelled",
        Code.Canceled,
        "the call was cancelled by its signal before it began",
        undefined,
        signal.reason,
      );
    }
    const { maxWaitingCalls } = this.#settings;
    if (this.#waiting.size >= maxWaitingCalls && !this.#find()) {
      return new WireCallError(
        "queue-full",
        Code.ResourceExhausted,
        `${this.#waiting.size} calls wait for a stream to ${this.targetName} already, ${maxWaitingCalls} may; send fewer at once, or raise maxWaitingCalls or maxConnections`,
      );
    }
    return undefined;
  }

  /** A connection with a free stream. The first is filled first, so that others become idle. */
  #find(): PooledConnection | undefined {
    for (const connection of this.#connections) {
      if (connection.freeStreams > 0) return connection;
    }
    return undefined;
  }

  /** Gives calls that wait their streams, and sees to it that there will be more. */
  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      for (let call = this.#waiting.first; call; call = this.#waiting.first) {
        const connection = this.#find();
        if (!connection) break;
        this.#waiting.remove(call);
        call.openOn(connection);
      }
    } finally {
      this.#pumping = false;
    }
    if (this.#waiting.size > 0) this.#connect();
  }

  #connect(): void {
    let usable = 0;
    for (const connection of this.#connections) {
      if (!connection.usable) continue;
      // One at a time: what it brings may be enough.
      if (!connection.ready) return;
      usable++;
      connection.keepAlive(true);
    }
    if (usable >= this.#settings.maxConnections) return;
    const waitMs = this.#notBefore - this.#settings.clock.now();
    if (waitMs > 0) {
      if (usable === 0) this.#failWaiting();
      this.#connectLater(waitMs);
      return;
    }
    this.#connects++;
    this.#connections.push(new PooledConnection(this.#settings, this));
  }

  #backOff(connection: PooledConnection, error: Error): void {
    this.#lastFailure = error;
    this.#notBefore = connection.begunAt + this.#backoff.next();
    // Calls that wait for a stream of a connection that works go on waiting.
    if (!this.#connections.some(({ usable }) => usable)) this.#failWaiting();
  }

  #connectLater(waitMs: number): void {
    this.#cancelRetry ??= this.#settings.clock.after(waitMs, () => {
      this.#cancelRetry = undefined;
      this.#pump();
    });
  }

  /** Fails the calls that do not wait for the server to come back. */
  #failWaiting(): void {
    const waitMs = Math.max(0, Math.ceil(this.#notBefore - this.#settings.clock.now()));
    const why = this.#lastFailure;
    let error: WireCallError | undefined;
    for (const call of this.#waiting.all()) {
      if (call.request.waitForReady) continue;
      error ??= new WireCallError(
        "unavailable",
        Code.Unavailable,
        `${why?.message ?? `cannot reach ${this.targetName}`} (next attempt in ${waitMs} ms)`,
        undefined,
        why,
      );
      const failure = error;
      // In its own turn: it may just be about to begin.
      queueMicrotask(() => {
        if (call.waits) call.fail(failure);
      });
    }
  }

  #closeIfOver(): void {
    if (this.#state === "open" || (this.#liveCalls > 0 && this.#state === "closing")) return;
    if (this.#connections.length === 0) this.#closed?.resolve();
    else for (const connection of [...this.#connections]) connection.drain();
  }
}
