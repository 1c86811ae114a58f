import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";

/** Where to listen: a TCP port (0 takes a free one), a unix socket, or both. */
export interface WireServerOptions {
  readonly tcp?: { readonly host: string; readonly port: number };
  readonly unix?: { readonly path: string };
  /** PEM contents; with it the TCP port speaks TLS only (ALPN h2 and http/1.1). */
  readonly tls?: { readonly cert: Buffer; readonly key: Buffer; readonly clientCa?: Buffer };
  readonly limits: WireLimits;
  /** Called for every request of every protocol; its rejection is answered as status 500. */
  readonly handler: UniversalHandlerFn;
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
  /** Time for the first bytes, the TLS handshake and the headers of a request, in ms. Default 10 000. */
  readonly handshakeTimeoutMs: number;
  /** Time a connection may idle without a stream, in ms. Default 300 000. */
  readonly idleTimeoutMs: number;
}

/** A listening server. One port takes HTTP/2 by prior knowledge or ALPN, and HTTP/1.1. */
export interface WireServer {
  /** The bound TCP address, absent without `tcp`. */
  readonly tcpAddress?: { readonly host: string; readonly port: number };
  readonly unixPath?: string;
  /** Counts for metrics. */
  readonly stats: {
    readonly openConnections: number;
    readonly openStreams: number;
    readonly refusedConnections: number;
  };
  /**
   * Stops listening, tells HTTP/2 peers by GOAWAY and HTTP/1.1 peers by `Connection: close`, and
   * resolves when the calls in flight have ended and their connections are closed.
   */
  drain(): Promise<void>;
  /** Closes every connection at once. */
  destroy(): Promise<void>;
}
