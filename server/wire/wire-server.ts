import type { Socket } from "node:net";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import type { StreamHandler } from "./caller-stream.ts";
import type { FastUnaryMethods } from "./grpc/fast-unary.ts";
import type { MemoryBudget } from "./request-memory.ts";
import type { RefusalCounts } from "./wire-refusals.ts";

/** Where to listen: a TCP port (0 takes a free one), a unix socket, or both; or nowhere. */
export interface WireServerOptions {
  readonly tcp?: { readonly host: string; readonly port: number };
  readonly unix?: { readonly path: string };
  /** PEM contents; with it the TCP port speaks TLS only (ALPN h2 and http/1.1). */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly clientCa?: Buffer };
  /** Default {@link defaultWireLimits}. */
  readonly limits?: Partial<WireLimits>;
  /** Room for the request messages of all connections; without it only each connection has a bound. */
  readonly memory?: MemoryBudget;
  /** Called for every request of every protocol; its rejection is answered as status 500. */
  readonly handler?: UniversalHandlerFn;
  /** In place of `handler`, for proxies: takes every request of every protocol undecoded. */
  readonly streams?: StreamHandler;
  /**
   * Unary gRPC methods of HTTP/2 that are answered from bytes to bytes, before `handler`, which must
   * answer them too: the calls that are unusual go there.
   */
  readonly fast?: FastUnaryMethods;
  /** Called for failures that no handler sees: protocol errors, failed TLS handshakes. */
  readonly onError: (error: Error, where: "tls" | "http2" | "http1" | "socket") => void;
}

/** Bounds on what a peer can make the server hold. */
export interface WireLimits {
  /** Connections at once; above it new ones are closed at once. Default 4096. */
  readonly maxConnections: number;
  /** Streams at once on one HTTP/2 connection. Default 1024. */
  readonly maxConcurrentStreams: number;
  /** Bytes of a header list. Default 32 KiB. */
  readonly maxHeaderListBytes: number;
  /**
   * Time for the first bytes, the TLS handshake, the acknowledgement of our settings, and for a header
   * block that was begun, in ms. Default 10 000.
   */
  readonly handshakeTimeoutMs: number;
  /** Time a connection may idle without a stream, in ms. Default 300 000. */
  readonly idleTimeoutMs: number;
  /**
   * Time for which an answer may wait for a peer that takes nothing of it, or the message of a unary
   * call for its next byte, in ms. HTTP/2 only. Default 60 000.
   */
  readonly stallTimeoutMs: number;
  /** Silence after which an HTTP/2 peer is asked by PING whether it is there, in ms. Default 60 000. */
  readonly keepAliveIntervalMs: number;
  /** Time for the answer to that PING, in ms. Default 20 000. */
  readonly keepAliveTimeoutMs: number;
  /** Bytes of request messages that one HTTP/2 connection may have under way. Default 256 MiB. */
  readonly maxConnectionBytes: number;
}

/** What holds where nothing else is said. */
export const defaultWireLimits: WireLimits = {
  maxConnections: 4096,
  maxConcurrentStreams: 1024,
  maxHeaderListBytes: 32 * 1024,
  handshakeTimeoutMs: 10_000,
  idleTimeoutMs: 300_000,
  stallTimeoutMs: 60_000,
  keepAliveIntervalMs: 60_000,
  keepAliveTimeoutMs: 20_000,
  maxConnectionBytes: 256 * 1024 * 1024,
};

/** A listening server. One port takes HTTP/2 by prior knowledge or ALPN, and HTTP/1.1. */
export interface WireServer {
  /** The bound TCP address, absent without `tcp`. */
  readonly tcpAddress?: { readonly host: string; readonly port: number };
  readonly unixPath?: string;
  /**
   * Serves a connection that another server accepted, and that nothing was read of: as those of the
   * port, with TLS if it is set, or as those of the unix socket.
   */
  accept(socket: Socket, listener: "tcp" | "unix"): void;
  /**
   * Tells the peers of so many HTTP/2 connections, those with the fewest streams, by GOAWAY to come again;
   * their calls end as they would, those too that they begin before they have read it. Resolves when none of
   * them can begin another.
   */
  shed(count: number): Promise<void>;
  /** Takes another certificate for TLS connections that are opened from here on. */
  renewCertificate(cert: Buffer, key: Buffer): void;
  /** Counts for metrics. */
  readonly stats: {
    readonly openConnections: number;
    readonly openStreams: number;
    readonly refusals: Readonly<RefusalCounts>;
  };
  /**
   * Stops listening, tells HTTP/2 peers by GOAWAY and HTTP/1.1 peers by `Connection: close`, and
   * resolves when the calls in flight have ended and their connections are closed.
   */
  drain(): Promise<void>;
  /** Closes every connection at once. */
  destroy(): Promise<void>;
}
