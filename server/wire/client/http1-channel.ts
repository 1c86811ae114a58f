import { Code } from "@connectrpc/connect";
import type { ForwardChannel } from "./forward-channel.ts";
import { Http1Call } from "./http1-call.ts";
import { Http1ClientConnection } from "./http1-client-connection.ts";
import {
  type Http1ChannelOptions,
  type Http1ChannelSettings,
  http1ChannelSettings,
} from "./http1-options.ts";
import type { WireCallReceiver, WireRequest } from "./wire-call.ts";
import { WireCallError } from "./wire-call-error.ts";

/** Counts of a channel, for metrics. */
export interface Http1ChannelStats {
  readonly connections: number;
  /** Connections without a call. */
  readonly idle: number;
  /** Calls that wait for a connection. */
  readonly queued: number;
  /** Calls that were sent again because the server did not process them, since the start. */
  readonly retries: number;
}

/** Calls to one server over HTTP/1.1: one call at a time on each connection, connections kept for more. */
export class Http1Channel implements ForwardChannel {
  readonly scheme = "http";
  readonly settings: Http1ChannelSettings;
  readonly #connections = new Set<Http1ClientConnection>();
  /** The one that was used last is used first, so that others become idle for good. */
  readonly #idle: Http1ClientConnection[] = [];
  readonly #waiting = new Set<Http1Call>();
  #connecting = 0;
  #retries = 0;
  #destroyed = false;

  constructor(options: Http1ChannelOptions) {
    this.settings = http1ChannelSettings(options);
  }

  get targetName(): string {
    return this.settings.targetName;
  }

  get stats(): Http1ChannelStats {
    return {
      connections: this.#connections.size,
      idle: this.#idle.length,
      queued: this.#waiting.size,
      retries: this.#retries,
    };
  }

  /** Begins a call. The receiver is told nothing before this returns. */
  call(request: WireRequest, receiver: WireCallReceiver): Http1Call {
    const call = new Http1Call(this, request, receiver);
    this.#give(call);
    return call;
  }

  /** Closes at once; calls that are not over fail. */
  destroy(): void {
    this.#destroyed = true;
    for (const connection of [...this.#connections]) connection.destroy();
    this.#failWaiting(this.#closedError());
  }

  // For calls.

  again(call: Http1Call): void {
    this.#retries++;
    this.#give(call);
  }

  forget(call: Http1Call): void {
    this.#waiting.delete(call);
  }

  #give(call: Http1Call): void {
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      if (!idle.usable) continue;
      idle.send(call);
      return;
    }
    const { maxWaitingCalls, maxConnections, targetName } = this.settings;
    if (this.#destroyed) call.failSoon(this.#closedError());
    else if (this.#connections.size < maxConnections) {
      this.#waiting.add(call);
      this.#connect();
    } else if (this.#waiting.size < maxWaitingCalls) this.#waiting.add(call);
    else {
      call.failSoon(
        new WireCallError(
          "queue-full",
          Code.ResourceExhausted,
          `${this.#waiting.size} calls wait for a connection to ${targetName} already, ${maxWaitingCalls} may; send fewer at once`,
        ),
      );
    }
  }

  #connect(): void {
    this.#connecting++;
    this.#connections.add(new Http1ClientConnection(this));
  }

  #closedError(): WireCallError {
    return new WireCallError(
      "unavailable",
      Code.Unavailable,
      `the channel to ${this.targetName} is closed and takes no more calls`,
    );
  }

  #failWaiting(error: WireCallError): void {
    for (const call of [...this.#waiting]) {
      this.#waiting.delete(call);
      call.fail(error);
    }
  }

  #first(): Http1Call | undefined {
    for (const call of this.#waiting) {
      this.#waiting.delete(call);
      return call;
    }
    return undefined;
  }

  // For connections.

  onConnected(connection: Http1ClientConnection): void {
    this.#connecting--;
    this.onFree(connection);
  }

  /** A connection may take a call. */
  onFree(connection: Http1ClientConnection): void {
    const call = this.#first();
    if (call) connection.send(call);
    else this.#idle.push(connection);
  }

  /** A connection could not be opened: the call that has waited longest fails. */
  onUnreachable(connection: Http1ClientConnection, error: Error): void {
    this.#connecting--;
    this.#connections.delete(connection);
    this.#first()?.fail(
      new WireCallError("unavailable", Code.Unavailable, error.message, undefined, error),
    );
    this.#connectForWaiting();
  }

  onGone(connection: Http1ClientConnection): void {
    this.#connections.delete(connection);
    const index = this.#idle.indexOf(connection);
    if (index !== -1) this.#idle.splice(index, 1);
    this.#connectForWaiting();
  }

  #connectForWaiting(): void {
    if (this.#destroyed) return;
    const { maxConnections } = this.settings;
    while (this.#connecting < this.#waiting.size && this.#connections.size < maxConnections) {
      this.#connect();
    }
  }
}
