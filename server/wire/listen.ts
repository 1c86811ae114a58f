import { once } from "node:events";
import {
  createServer as createHttp1Server,
  type Server as Http1Server,
  type IncomingMessage,
} from "node:http";
import {
  type AddressInfo,
  createServer as createNetServer,
  type Server,
  type Socket,
} from "node:net";
import type { TLSSocket, Server as TlsServer } from "node:tls";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import { bindServer, bindUnixServer } from "./bind-server.ts";
import type { StreamHandler } from "./caller-stream.ts";
import { certificateNamesOf } from "./certificate-names.ts";
import { type FastRoute, fastRouteOf } from "./grpc/fast-route.ts";
import { FastUnaryCall } from "./grpc/fast-unary-call.ts";
import { Http1Connection } from "./http1/http1-connection.ts";
import { answerHttp1, type Http1Owner } from "./http1-adapter.ts";
import { Http2Connection } from "./http2/http2-connection.ts";
import type { Http2Stream } from "./http2/http2-stream.ts";
import type { RequestHead } from "./http2/message-head.ts";
import { UniversalExchange } from "./http2/universal-exchange.ts";
import type { Peer } from "./peer.ts";
import { peerOfSocket } from "./peer-of-socket.ts";
import { type MemoryBudget, memoryFull, unboundedMemory } from "./request-memory.ts";
import { RequestUrls } from "./request-url.ts";
import { sniffSocket } from "./socket-sniffer.ts";
import { noRefusals, type WireRefusal } from "./wire-refusals.ts";
import {
  defaultWireLimits,
  type WireLimits,
  type WireServer,
  type WireServerOptions,
} from "./wire-server.ts";

/** Small answers go out at once; a peer that vanished without a word is found by TCP's probes. */
const socketOptions = { noDelay: true, keepAlive: true, keepAliveInitialDelay: 60_000 } as const;

const secureContext = { minVersion: "TLSv1.2" } as const;

/**
 * Listens for HTTP/2 (prior knowledge, or ALPN with TLS) and HTTP/1.1 on the same port and socket. With
 * neither port nor socket it serves the connections that {@link WireServer.accept} is given.
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
  readonly #limits: WireLimits;
  /** `undefined` where requests are taken undecoded. */
  readonly #http1: Http1Server | undefined;
  readonly #undecoded = new Set<Http1Connection>();
  readonly #listeners: Server[] = [];
  readonly #tlsServers: TlsServer[] = [];
  /** Takes the TLS connections that are handed over; it listens nowhere. */
  #handedTls: Server | undefined;
  readonly #onServerError = (error: Error): void => this.#options.onError(error, "socket");
  readonly #sockets = new Set<Socket>();
  readonly #connections = new Set<Http2Connection>();
  /** Connections without a request: those that are silent yet, and idle ones of HTTP/1.1. */
  readonly #quiet = new Set<Socket>();
  readonly #urls = new RequestUrls();
  /** Peers that had to show a certificate: its names are read once for a connection. */
  readonly #certified = new WeakMap<Socket, Peer>();
  #openStreams = 0;
  readonly #refusals = noRefusals();
  readonly #memory: MemoryBudget;
  #draining = false;

  constructor(options: WireServerOptions) {
    this.#options = options;
    this.#limits = { ...defaultWireLimits, ...options.limits };
    this.#memory = options.memory ?? unboundedMemory();
    const { handler, streams } = options;
    if (handler) this.#http1 = this.#createHttp1(handler);
    else if (!streams) throw new Error("a wire server needs a handler, or takes streams");
  }

  get stats(): WireServer["stats"] {
    return {
      openConnections: this.#sockets.size,
      openStreams: this.#openStreams,
      refusals: this.#refusals,
    };
  }

  async listenTcp({ host, port }: { readonly host: string; readonly port: number }): Promise<void> {
    const server = this.#options.tls
      ? this.#createTls(this.#options.tls)
      : createNetServer(socketOptions, (socket) => this.#accept(socket));
    const onError = this.#onServerError;
    const address = (await bindServer(
      server,
      { host, port },
      `${host}:${port}`,
      onError,
    )) as AddressInfo;
    this.#listeners.push(server);
    this.tcpAddress = { host: address.address, port: address.port };
  }

  async listenUnix(path: string): Promise<void> {
    const server = createNetServer((socket) => this.#accept(socket));
    await bindUnixServer(server, path, this.#onServerError);
    this.#listeners.push(server);
    this.unixPath = path;
  }

  accept(socket: Socket, listener: "tcp" | "unix"): void {
    if (listener === "tcp") {
      socket.setNoDelay(socketOptions.noDelay);
      socket.setKeepAlive(socketOptions.keepAlive, socketOptions.keepAliveInitialDelay);
      if (this.#options.tls) {
        this.#handedTls ??= this.#createTls(this.#options.tls);
        this.#handedTls.emit("connection", socket);
        return;
      }
    }
    this.#accept(socket);
  }

  renewCertificate(cert: Buffer, key: Buffer): void {
    const ca = this.#options.tls?.clientCa;
    const context = { ...secureContext, cert, key, ...(ca ? { ca } : {}) };
    for (const server of this.#tlsServers) server.setSecureContext(context);
  }

  #createTls(tls: NonNullable<WireServerOptions["tls"]>): Server {
    const { onError } = this.#options;
    // Loaded where it is used: OpenSSL's part of Node takes 2 MB.
    const server = process.getBuiltinModule("node:tls").createServer({
      cert: tls.cert,
      key: tls.key,
      ...(tls.clientCa ? { ca: tls.clientCa, requestCert: true, rejectUnauthorized: true } : {}),
      ALPNProtocols: ["h2", "http/1.1"],
      ...secureContext,
      handshakeTimeout: this.#limits.handshakeTimeoutMs,
      ...socketOptions,
    });
    this.#tlsServers.push(server);
    server.on("connection", (socket: Socket) => this.#admit(socket));
    server.on("secureConnection", (socket: TLSSocket) => {
      if (this.#draining) {
        socket.destroy();
        return;
      }
      if (tls.clientCa) {
        const certificateNames = certificateNamesOf(socket);
        this.#certified.set(socket, { ...peerOfSocket(socket), certificateNames });
      }
      this.#beQuiet(socket);
      this.#serve(socket, socket.alpnProtocol === "h2" ? "http2" : "http1");
    });
    server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: TLSSocket) => {
      if (error.code === "ERR_TLS_HANDSHAKE_TIMEOUT") this.#refusals["handshake-timeout"]++;
      onError(error, "tls");
      // Node leaves a connection open whose handshake timed out.
      socket.destroy();
    });
    return server;
  }

  async shed(count: number): Promise<void> {
    const emptiest = [...this.#connections]
      .filter(({ usable }) => usable)
      .sort((a, b) => a.openStreams - b.openStreams);
    await Promise.all(
      emptiest
        .slice(0, count)
        .map((connection) => new Promise<void>((resolve) => connection.drain(resolve))),
    );
  }

  async drain(): Promise<void> {
    this.#draining = true;
    const closed = this.#close();
    for (const connection of this.#connections) connection.drain();
    for (const connection of this.#undecoded) connection.drain();
    for (const socket of this.#quiet) socket.destroy();
    await closed;
  }

  async destroy(): Promise<void> {
    this.#draining = true;
    const closed = this.#close();
    // A connection that is gone is UNAVAILABLE to gRPC callers; a reset stream would be INTERNAL.
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }

  /** Stops listening; resolves when all connections are closed. */
  async #close(): Promise<void> {
    // It does not listen itself; this ends its watch on slow headers.
    this.#http1?.close();
    await Promise.all(
      this.#listeners.map(
        (server) => new Promise<void>((resolve) => void server.close(() => resolve())),
      ),
    );
    await Promise.all([...this.#sockets].map((socket) => once(socket, "close")));
  }

  /** Counts a connection; false if it was one too many and is closed. */
  #admit(socket: Socket): boolean {
    if (this.#sockets.size >= this.#limits.maxConnections || this.#draining) {
      this.#refusals.connections++;
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
    sniffSocket(
      socket,
      this.#limits.handshakeTimeoutMs,
      (protocol) => this.#serve(socket, protocol),
      () => this.#refusals["handshake-timeout"]++,
    );
  }

  #beQuiet(socket: Socket): void {
    this.#quiet.add(socket);
    socket.once("close", () => this.#quiet.delete(socket));
  }

  #serve(socket: Socket, protocol: "http1" | "http2"): void {
    if (protocol === "http2") {
      this.#quiet.delete(socket);
      this.#serveHttp2(socket);
    } else if (this.#http1) this.#http1.emit("connection", socket);
    else {
      this.#quiet.delete(socket);
      this.#serveUndecoded(socket, this.#options.streams!);
    }
  }

  #peerOf(socket: Socket): Peer {
    return this.#certified.get(socket) ?? peerOfSocket(socket);
  }

  /** HTTP/1.1 whose requests are taken as they come. */
  #serveUndecoded(socket: Socket, streams: StreamHandler): void {
    const { onError } = this.#options;
    const peer = this.#peerOf(socket);
    const connection = new Http1Connection(socket, this.#limits, {
      onRequest: (exchange, head, endStream) => streams(exchange, head, endStream, peer),
      onExchange: (_, change) => {
        this.#openStreams += change;
      },
      onRefusal: (refusal, message) => {
        this.#refusals[refusal]++;
        onError(new Error(message), "http1");
      },
      onClose: (closed) => this.#undecoded.delete(closed),
    });
    this.#undecoded.add(connection);
    if (this.#draining) connection.drain();
    socket.resume();
  }

  #http1Owner(): Http1Owner {
    const { onError } = this.#options;
    const memory = this.#memory;
    const refusals = this.#refusals;
    return {
      stepTimeoutMs: this.#limits.idleTimeoutMs,
      onError: (error) => onError(error, "http1"),
      onSlowRead() {
        refusals["slow-read"]++;
        onError(new Error("the peer does not take the answer"), "http1");
      },
      // A connection has one request at a time, which the size of a message bounds.
      reserve(bytes) {
        if (memory.take(bytes)) return undefined;
        refusals["server-memory"]++;
        return memoryFull("server-memory", bytes, memory.limitBytes);
      },
      unreserve: (bytes) => memory.give(bytes),
    };
  }

  #createHttp1(handler: UniversalHandlerFn): Http1Server {
    const { onError } = this.#options;
    const limits = this.#limits;
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
    const owner = this.#http1Owner();
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
      void answerHttp1(request, response, this.#peerOf(socket), url, handler, owner);
    });
    server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
      onError(error, "http1");
      // What does not even begin as HTTP gets no answer in a protocol that it does not speak.
      const speaksHttp = error.code !== "HPE_INVALID_METHOD";
      if (socket.writable && speaksHttp) socket.end(clientErrorAnswer(error.code));
      else socket.destroy();
    });
    return server;
  }

  #serveHttp2(socket: Socket): void {
    const { fast, onError } = this.#options;
    const { streams } = this.#options;
    // One of the two is there.
    const handler = this.#options.handler!;
    const peer = this.#peerOf(socket);
    const scheme = "encrypted" in socket ? "https" : "http";
    const connection = new Http2Connection(
      socket,
      true,
      this.#limits,
      {
        onRequest: (stream: Http2Stream, head: RequestHead, endStream: boolean) => {
          if (streams) {
            streams(stream, head, endStream, peer);
            return;
          }
          if (fast) {
            if (head.route === undefined) head.route = fastRouteOf(head, fast) ?? null;
            if (head.route !== null) {
              const call = new FastUnaryCall(
                stream,
                head.route as FastRoute,
                head.fields,
                peer,
                fast,
              );
              stream.receiver = call;
              call.begin(endStream);
              return;
            }
          }
          const url = this.#urls.of(scheme, head.authority, head.path);
          const exchange = new UniversalExchange(stream, endStream, (error) =>
            onError(error, "http2"),
          );
          stream.receiver = exchange;
          void exchange.answer(head, url, peer, handler);
        },
        onStreams: (_, change) => {
          this.#openStreams += change;
        },
        onRefusal: (refusal: WireRefusal, message: string) => {
          this.#refusals[refusal]++;
          onError(new Error(message), "http2");
        },
        onClose: (closed) => this.#connections.delete(closed),
      },
      this.#memory,
    );
    this.#connections.add(connection);
    if (this.#draining) connection.drain();
    socket.resume();
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
