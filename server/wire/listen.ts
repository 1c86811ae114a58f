import { once } from "node:events";
import {
  createServer as createHttp1Server,
  type Server as Http1Server,
  type IncomingMessage,
} from "node:http";
import {
  constants,
  createServer as createHttp2Server,
  type Http2Server,
  type Http2Session,
} from "node:http2";
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server,
  type Socket,
} from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { answerHttp1 } from "./http1-adapter.ts";
import { answerHttp2 } from "./http2-adapter.ts";
import { listenFailed } from "./listen-error.ts";
import type { Peer } from "./peer.ts";
import { peerOfSocket } from "./peer-of-socket.ts";
import { RequestUrls } from "./request-url.ts";
import { sniffSocket } from "./socket-sniffer.ts";
import { removeDeadSocket } from "./unix-socket-file.ts";
import type { WireServer, WireServerOptions } from "./wire-server.ts";

/** Bytes that a peer may send on one stream, and on one connection, before it must wait. */
const streamWindow = 4 * 1024 * 1024;
const connectionWindow = 16 * 1024 * 1024;

/** Small answers go out at once; a peer that vanished without a word is found by TCP's probes. */
const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

/**
 * Listens for HTTP/2 (prior knowledge, or ALPN with TLS) and HTTP/1.1 on the same port and socket.
 *
 * @throws TensorwireError `LISTEN_FAILED` naming the address and what to do
 */
export async function listenWire(options: WireServerOptions): Promise<WireServer> {
  const host = new WireHost(options);
  try {
    if (options.tcp) await host.listenTcp(options.tcp);
    if (options.unix) await host.listenUnix(options.unix.path);
  } catch (error) {
    await host.destroy();
    throw error;
  }
  return host;
}

interface SessionState {
  readonly peer: Peer;
  readonly scheme: "http" | "https";
  openStreams: number;
}

class WireHost implements WireServer {
  tcpAddress?: { readonly host: string; readonly port: number };
  unixPath?: string;
  readonly #options: WireServerOptions;
  readonly #http1: Http1Server;
  readonly #http2: Http2Server;
  readonly #listeners: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Map<Http2Session, SessionState>();
  /** Connections without a request: those that are silent yet, and idle ones of HTTP/1.1. */
  readonly #quiet = new Set<Socket>();
  readonly #urls = new RequestUrls();
  #openStreams = 0;
  #refusedConnections = 0;
  #draining = false;

  constructor(options: WireServerOptions) {
    this.#options = options;
    this.#http1 = this.#createHttp1();
    this.#http2 = this.#createHttp2();
  }

  get stats(): WireServer["stats"] {
    return {
      openConnections: this.#sockets.size,
      openStreams: this.#openStreams,
      refusedConnections: this.#refusedConnections,
    };
  }

  async listenTcp({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    const { tls, limits, onError } = this.#options;
    let server: Server;
    if (tls) {
      server = createTlsServer({
        cert: tls.cert,
        key: tls.key,
        ...(tls.clientCa ? { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true } : {}),
        ALPNProtocols: ["h2", "http/1.1"],
        minVersion: "TLSv1.2",
        handshakeTimeout: limits.handshakeTimeoutMs,
        ...socketOptions,
      });
      server.on("connection", (socket: Socket) => this.#admit(socket));
      server.on("secureConnection", (socket: TLSSocket) => {
        if (this.#draining) {
          socket.destroy();
          return;
        }
        this.#beQuiet(socket);
        this.#serve(socket, socket.alpnProtocol === "h2" ? "http2" : "http1");
      });
      server.on("tlsClientError", (error: Error, socket: TLSSocket) => {
        onError(error, "tls");
        // Node leaves a connection open whose handshake timed out.
        socket.destroy();
      });
    } else {
      server = createNetServer(socketOptions, (socket) => this.#accept(socket));
    }
    const address = (await this.#listen(server, { host, port }, `${host}:${port}`)) as AddressInfo;
    this.tcpAddress = { host: address.address, port: address.port };
  }

  async listenUnix(path: string): Promise<void> {
    await removeDeadSocket(path);
    const server = createNetServer((socket) => this.#accept(socket));
    // Only this user may connect, from the moment the file appears: listen() makes it before it returns.
    const mask = process.umask(0o177);
    let listening: Promise<unknown>;
    try {
      listening = this.#listen(server, { path }, `unix socket ${path}`);
    } finally {
      process.umask(mask);
    }
    await listening;
    this.unixPath = path;
  }

  async drain(): Promise<void> {
    this.#draining = true;
    const closed = this.#close();
    for (const session of this.#sessions.keys()) session.close();
    for (const socket of this.#quiet) socket.destroy();
    await closed;
  }

  async destroy(): Promise<void> {
    this.#draining = true;
    const closed = this.#close();
    // A connection that is gone is UNAVAILABLE to gRPC callers; a reset stream would be INTERNAL.
    for (const socket of this.#sockets) socket.destroy();
    for (const session of this.#sessions.keys()) session.destroy();
    await closed;
  }

  /** Stops listening; resolves when all connections are closed. */
  async #close(): Promise<void> {
    // It does not listen itself; this ends its watch on slow headers.
    this.#http1.close();
    await Promise.all(
      this.#listeners.map(
        (server) => new Promise<void>((resolve) => void server.close(() => resolve())),
      ),
    );
    await Promise.all([...this.#sockets].map((socket) => once(socket, "close")));
  }

  #listen(
    server: Server,
    where: { host: string; port: number } | { path: string },
    name: string,
  ): Promise<ReturnType<Server["address"]>> {
    return new Promise((resolve, reject) => {
      server.once("error", (error: NodeJS.ErrnoException) => reject(listenFailed(name, error)));
      server.listen(where, () => {
        server.removeAllListeners("error");
        server.on("error", (error) => this.#options.onError(error, "socket"));
        this.#listeners.push(server);
        resolve(server.address());
      });
    });
  }

  /** Counts a connection; false if it was one too many and is closed. */
  #admit(socket: Socket): boolean {
    if (this.#sockets.size >= this.#options.limits.maxConnections || this.#draining) {
      this.#refusedConnections++;
      socket.destroy();
      return false;
    }
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    socket.on("error", onSocketError);
    return true;
  }

  #accept(socket: Socket): void {
    if (!this.#admit(socket)) return;
    this.#beQuiet(socket);
    sniffSocket(socket, this.#options.limits.handshakeTimeoutMs, (protocol) => {
      this.#serve(socket, protocol);
    });
  }

  #beQuiet(socket: Socket): void {
    this.#quiet.add(socket);
    socket.once("close", () => this.#quiet.delete(socket));
  }

  #serve(socket: Socket, protocol: "http1" | "http2"): void {
    if (protocol === "http2") {
      this.#quiet.delete(socket);
      this.#http2.emit("connection", socket);
    } else {
      this.#http1.emit("connection", socket);
    }
  }

  #createHttp1(): Http1Server {
    const { limits, handler, onError } = this.#options;
    const server = createHttp1Server({
      maxHeaderSize: limits.maxHeaderListBytes,
      headersTimeout: limits.handshakeTimeoutMs,
      // How long a body may take in all is not bounded; how long it may pause is, below.
      requestTimeout: 0,
      keepAliveTimeout: limits.idleTimeoutMs,
      connectionsCheckingInterval: Math.max(limits.handshakeTimeoutMs / 4, 50),
      noDelay: true,
    });
    // The server is handed its sockets and never listens; this event starts its watch on slow headers.
    server.emit("listening");
    const current = new WeakMap<Socket, IncomingMessage>();
    server.timeout = limits.idleTimeoutMs;
    server.on("timeout", (socket) => {
      // Nothing was sent or received. That is well only while the handler is at work on a whole request.
      const atWork = current.get(socket)?.complete && socket.writableLength === 0;
      if (!atWork) socket.destroy();
    });
    server.on("request", (request, response) => {
      const { socket } = request;
      this.#openStreams++;
      this.#quiet.delete(socket);
      current.set(socket, request);
      if (this.#draining) response.setHeader("connection", "close");
      response.once("close", () => {
        this.#openStreams--;
        current.delete(socket);
        if (this.#draining) socket.destroySoon();
        else if (!socket.destroyed) this.#quiet.add(socket);
      });
      const scheme = "encrypted" in socket ? "https" : "http";
      const url = this.#urls.of(scheme, request.headers.host, request.url ?? "/");
      void answerHttp1(request, response, peerOfSocket(socket), url, handler, (error) =>
        onError(error, "http1"),
      );
    });
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      onError(error, "http1");
      if (socket.writable) socket.end(clientErrorAnswer(error.code));
      else socket.destroy();
    });
    return server;
  }

  #createHttp2(): Http2Server {
    const { limits, handler, onError } = this.#options;
    const server = createHttp2Server({
      settings: {
        initialWindowSize: streamWindow,
        maxConcurrentStreams: limits.maxConcurrentStreams,
        maxHeaderListSize: limits.maxHeaderListBytes,
        enablePush: false,
      },
      // In MB. A peer's unread bodies take at most a connection window; the rest is for answers.
      maxSessionMemory: 256,
    });
    server.on("session", (session) => {
      const state: SessionState = {
        peer: peerOfSocket(session.socket as Socket),
        scheme: session.encrypted ? "https" : "http",
        openStreams: 0,
      };
      this.#sessions.set(session, state);
      // Peers begin with a preface and settings, and acknowledge ours (RFC 9113, sections 3.4, 6.5.3).
      const silent = setTimeout(() => session.destroy(), limits.handshakeTimeoutMs);
      session.once("localSettings", () => clearTimeout(silent));
      session.setLocalWindowSize(connectionWindow);
      session.setTimeout(limits.idleTimeoutMs, () => {
        if (state.openStreams === 0) session.close();
      });
      session.once("close", () => {
        clearTimeout(silent);
        this.#sessions.delete(session);
      });
      session.on("error", (error) => onError(error, "http2"));
      if (this.#draining) session.close();
    });
    server.on("stream", (stream, headers, flags, rawHeaders) => {
      const state = stream.session && this.#sessions.get(stream.session);
      if (!state) {
        stream.close(constants.NGHTTP2_REFUSED_STREAM);
        return;
      }
      this.#openStreams++;
      state.openStreams++;
      stream.once("close", () => {
        this.#openStreams--;
        state.openStreams--;
      });
      // nghttp2 holds peers to the limit once they have acknowledged it.
      if (headerListBytes(rawHeaders) > limits.maxHeaderListBytes) {
        stream.on("error", onSocketError);
        stream.respond({ ":status": 431 }, { endStream: true });
        return;
      }
      const authority = headers[":authority"] ?? headers.host;
      const url = this.#urls.of(state.scheme, authority, headers[":path"] ?? "/");
      const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      void answerHttp2(stream, headers, endStream, state.peer, url, handler, (error) =>
        onError(error, "http2"),
      );
    });
    return server;
  }
}

function onSocketError(): void {
  // What is to be done about a broken socket is done on its 'close'.
}

/** Size of a header list as its limit counts it (RFC 9113, section 6.5.2). */
function headerListBytes(rawHeaders: readonly string[]): number {
  let bytes = rawHeaders.length * 16;
  for (const part of rawHeaders) bytes += part.length;
  return bytes;
}

function clientErrorAnswer(code: string | undefined): string {
  const status =
    code === "HPE_HEADER_OVERFLOW"
      ? "431 Request Header Fields Too Large"
      : code === "ERR_HTTP_REQUEST_TIMEOUT"
        ? "408 Request Timeout"
        : "400 Bad Request";
  return `HTTP/1.1 ${status}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n`;
}
