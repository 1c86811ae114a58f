import { lstat, unlink } from "node:fs/promises";
import { createServer as createHttp1Server, type Server as Http1Server } from "node:http";
import {
  constants,
  createServer as createHttp2Server,
  type Http2Server,
  type Http2Session,
} from "node:http2";
import {
  type AddressInfo,
  connect,
  createServer as createNetServer,
  type Server,
  type Socket,
} from "node:net";
import { createServer as createTlsServer, type TLSSocket } from "node:tls";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { answerHttp1 } from "./http1-adapter.ts";
import { answerHttp2 } from "./http2-adapter.ts";
import type { Peer } from "./peer.ts";
import { peerOfSocket } from "./peer-of-socket.ts";
import { sniffSocket } from "./socket-sniffer.ts";
import type { WireServer, WireServerOptions } from "./wire-server.ts";

/** Bytes that a peer may send on one stream, and on one connection, before it must wait. */
const streamWindow = 4 * 1024 * 1024;
const connectionWindow = 16 * 1024 * 1024;

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

class WireHost implements WireServer {
  tcpAddress?: { readonly host: string; readonly port: number };
  unixPath?: string;
  readonly #options: WireServerOptions;
  readonly #http1: Http1Server;
  readonly #http2: Http2Server;
  readonly #listeners: Server[] = [];
  readonly #sockets = new Set<Socket>();
  readonly #sessions = new Map<Http2Session, { readonly peer: Peer; openStreams: number }>();
  /** Connections that have not said yet which protocol they speak. */
  readonly #undecided = new Set<Socket>();
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
        noDelay: true,
      });
      server.on("connection", (socket: Socket) => this.#admit(socket));
      server.on("secureConnection", (socket: TLSSocket) => {
        this.#serve(socket, socket.alpnProtocol === "h2" ? "http2" : "http1");
      });
      server.on("tlsClientError", (error: Error) => onError(error, "tls"));
    } else {
      server = createNetServer({ noDelay: true, pauseOnConnect: false }, (socket) =>
        this.#accept(socket),
      );
    }
    const address = (await this.#listen(server, { host, port }, `${host}:${port}`)) as AddressInfo;
    this.tcpAddress = { host: address.address, port: address.port };
  }

  async listenUnix(path: string): Promise<void> {
    await removeDeadSocket(path);
    const server = createNetServer((socket) => this.#accept(socket));
    // Only this user may connect; the mask holds from the moment the file appears.
    const mask = process.umask(0o177);
    try {
      await this.#listen(server, { path }, `unix socket ${path}`);
    } finally {
      process.umask(mask);
    }
    this.unixPath = path;
  }

  async drain(): Promise<void> {
    this.#draining = true;
    const closed = this.#listeners.map(
      (server) => new Promise<void>((resolve) => server.close(() => resolve())),
    );
    for (const session of this.#sessions.keys()) session.close();
    this.#http1.closeIdleConnections();
    for (const socket of this.#undecided) socket.destroy();
    await Promise.all(closed);
  }

  async destroy(): Promise<void> {
    for (const server of this.#listeners) server.close();
    for (const session of this.#sessions.keys()) session.destroy();
    for (const socket of this.#sockets) socket.destroy();
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
    this.#undecided.add(socket);
    socket.once("close", () => this.#undecided.delete(socket));
    sniffSocket(socket, this.#options.limits.handshakeTimeoutMs, (protocol) => {
      this.#undecided.delete(socket);
      this.#serve(socket, protocol);
    });
  }

  #serve(socket: Socket, protocol: "http1" | "http2"): void {
    const server = protocol === "http2" ? this.#http2 : this.#http1;
    server.emit("connection", socket);
  }

  #createHttp1(): Http1Server {
    const { limits, handler, onError } = this.#options;
    const server = createHttp1Server({
      maxHeaderSize: limits.maxHeaderListBytes,
      headersTimeout: limits.handshakeTimeoutMs,
      // How long a body may take is bounded by the idle timeout of the socket, not in all.
      requestTimeout: 0,
      keepAliveTimeout: limits.idleTimeoutMs,
      connectionsCheckingInterval: Math.max(limits.handshakeTimeoutMs / 4, 50),
      noDelay: true,
    });
    server.timeout = limits.idleTimeoutMs;
    // The server is handed its sockets and never listens; this event starts its watch on slow headers.
    server.emit("listening");
    server.on("request", (request, response) => {
      const { socket } = request;
      this.#openStreams++;
      if (this.#draining) response.setHeader("connection", "close");
      response.once("close", () => {
        this.#openStreams--;
        if (this.#draining) socket.end();
      });
      const origin = `${"encrypted" in socket ? "https" : "http"}://${request.headers.host ?? "localhost"}`;
      void answerHttp1(request, response, peerOfSocket(socket), origin, handler, (error) =>
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
      const state = { peer: peerOfSocket(session.socket as Socket), openStreams: 0 };
      this.#sessions.set(session, state);
      session.setLocalWindowSize(connectionWindow);
      session.setTimeout(limits.idleTimeoutMs, () => {
        if (state.openStreams === 0) session.close();
      });
      session.once("close", () => this.#sessions.delete(session));
      session.on("error", (error) => onError(error, "http2"));
      if (this.#draining) session.close();
    });
    server.on("stream", (stream, headers, flags) => {
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
      const origin = `${headers[":scheme"] ?? "http"}://${headers[":authority"] ?? headers.host ?? "localhost"}`;
      const endStream = (flags & constants.NGHTTP2_FLAG_END_STREAM) !== 0;
      void answerHttp2(stream, headers, endStream, state.peer, origin, handler, (error) =>
        onError(error, "http2"),
      );
    });
    return server;
  }
}

function onSocketError(): void {
  // What is to be done about a broken socket is done on its 'close'.
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

function listenFailed(where: string, error: NodeJS.ErrnoException): TensorwireError {
  const remedy =
    error.code === "EADDRINUSE"
      ? "another program listens there; stop it or choose another with --port or --unix"
      : error.code === "EACCES"
        ? "this user may not; choose a port above 1023 or another path"
        : messageOf(error);
  return new TensorwireError(
    "LISTEN_FAILED",
    `cannot listen on ${where}: ${remedy}`,
    { where },
    { cause: error },
  );
}

/** Removes the socket file of a server that is gone; one that answers stays, and listening fails. */
async function removeDeadSocket(path: string): Promise<void> {
  try {
    if (!(await lstat(path)).isSocket()) return;
  } catch {
    // Nothing is there, which is as it should be; what else is wrong, listening will say.
    return;
  }
  const alive = await new Promise<boolean>((resolve) => {
    const probe = connect(path);
    probe.once("connect", () => {
      probe.destroy();
      resolve(true);
    });
    probe.once("error", () => resolve(false));
  });
  if (!alive) await unlink(path);
}
