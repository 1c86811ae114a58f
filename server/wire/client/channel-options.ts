import type { ConnectionLimits } from "../http2/http2-connection.ts";
import type { WheelClock } from "../timer-wheel.ts";
import { type BackoffOptions, defaultBackoff } from "./backoff.ts";

/** Where a server listens: a TCP port, or a unix socket. */
export type WireTarget =
  | { readonly host: string; readonly port: number }
  | { readonly unix: string };

/** PEM contents for TLS. HTTP/2 must be agreed on by ALPN. */
export interface ChannelTls {
  /** Authorities that the server's certificate may come from; default those that Node trusts. */
  readonly ca?: Buffer | string;
  /** Certificate and key of this client, for a server that asks for one (mTLS). */
  readonly cert?: Buffer | string;
  readonly key?: Buffer | string;
  /** Name that the certificate must have; default the host, unless that is an IP address. */
  readonly servername?: string;
}

/** Settings of a channel. */
export interface WireChannelOptions {
  readonly target: WireTarget;
  /** Cleartext HTTP/2 by prior knowledge without it. */
  readonly tls?: ChannelTls;
  /** `:authority` of calls that name none; default the target, `localhost` for a unix socket. */
  readonly authority?: string;
  /** Connections at once. Another one is opened when all have no stream left. Default 4. */
  readonly maxConnections?: number;
  /** Calls that may wait for a stream; beyond it they fail with RESOURCE_EXHAUSTED. Default 1024. */
  readonly maxWaitingCalls?: number;
  /** Time for TCP, TLS and the server's SETTINGS together, in ms. Default 20 000. */
  readonly connectTimeoutMs?: number;
  /** Default {@link defaultBackoff}. */
  readonly backoff?: Partial<BackoffOptions>;
  /**
   * Bytes of a request that are kept until its answer begins, so that it can be sent again if the server
   * did not process it. Default 64 KiB. Calls with a whole body are kept whatever their size.
   */
  readonly replayBytes?: number;
  /** Default {@link defaultChannelLimits}. */
  readonly limits?: Partial<ConnectionLimits>;
  /** Told what servers did wrong. */
  readonly onError?: (error: Error) => void;
  /** For connect timeouts and backoff; a virtual one in tests. */
  readonly clock?: WheelClock;
  /** For jitter, from 0 to 1; default Math.random. */
  readonly random?: () => number;
}

/** Bounds of a connection where nothing else is said. */
export const defaultChannelLimits: ConnectionLimits = {
  // A client opens streams itself; this bounds how many the server may reset at once.
  maxConcurrentStreams: 1024,
  maxHeaderListBytes: 64 * 1024,
  maxConnectionBytes: 1024 * 1024 * 1024,
  handshakeTimeoutMs: 20_000,
  idleTimeoutMs: 300_000,
  // A server that reads slowly is no fault; a dead one is found by PING.
  stallTimeoutMs: Number.POSITIVE_INFINITY,
  // Servers of gRPC go away from clients that send PING more often than every 5 minutes, or without a
  // call: by then a connection without one is closed for being idle.
  keepAliveIntervalMs: 330_000,
  keepAliveTimeoutMs: 20_000,
};

/** All settings of a channel, with the defaults filled in. */
export interface ChannelSettings {
  readonly target: WireTarget;
  readonly targetName: string;
  readonly tls: ChannelTls | undefined;
  readonly authority: string;
  readonly maxConnections: number;
  readonly maxWaitingCalls: number;
  readonly connectTimeoutMs: number;
  readonly backoff: BackoffOptions;
  readonly replayBytes: number;
  readonly limits: ConnectionLimits;
  readonly onError: (error: Error) => void;
  readonly clock: WheelClock;
  readonly random: () => number;
}

/**
 * Fills in the defaults.
 *
 * @throws RangeError for a number that is no count
 */
export function channelSettings(options: WireChannelOptions): ChannelSettings {
  const { target, maxConnections = 4, maxWaitingCalls = 1024 } = options;
  if (!Number.isInteger(maxConnections) || maxConnections < 1) {
    throw new RangeError(`maxConnections is ${maxConnections}, expected an integer of at least 1`);
  }
  if (!(maxWaitingCalls >= 0)) {
    throw new RangeError(`maxWaitingCalls is ${maxWaitingCalls}, expected 0 or more`);
  }
  return {
    target,
    targetName: nameOfTarget(target),
    tls: options.tls,
    authority: options.authority ?? ("unix" in target ? "localhost" : nameOfTarget(target)),
    maxConnections,
    maxWaitingCalls,
    connectTimeoutMs: options.connectTimeoutMs ?? 20_000,
    backoff: { ...defaultBackoff, ...options.backoff },
    replayBytes: options.replayBytes ?? 64 * 1024,
    limits: { ...defaultChannelLimits, ...options.limits },
    onError: options.onError ?? (() => {}),
    clock: options.clock ?? systemClock,
    random: options.random ?? Math.random,
  };
}

/** How messages name a target: `host:port`, `[::1]:port`, `unix:/path`. */
export function nameOfTarget(target: WireTarget): string {
  if ("unix" in target) return `unix:${target.unix}`;
  const { host, port } = target;
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** Keeps the process alive, since a call waits for what its timers bring about. */
const systemClock: WheelClock = {
  now: () => performance.now(),
  after(ms, action) {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};
