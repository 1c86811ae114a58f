import type { ClientSessionOptions, SecureClientSessionOptions } from "node:http2";
import { connect as connectSocket } from "node:net";
import type { Transport } from "@connectrpc/connect";
import {
  compressionGzip,
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { parameterInvalid } from "../../../server/errors/request-errors.ts";
import type { Connection } from "./client.ts";
import type { ClientOptions } from "./client-options.ts";
import { LargeWindowSessionManager, windowBytes } from "./http2-window.ts";
import { createHeaderInterceptor } from "./request-headers.ts";

/** Contents of PEM files. */
export interface TlsOptions {
  /** Authorities to trust instead of the system's. */
  readonly ca?: string | Uint8Array;
  /** Certificate of this client, for mutual TLS. */
  readonly cert?: string | Uint8Array;
  /** Key of that certificate. */
  readonly key?: string | Uint8Array;
  /** Name that the server's certificate must have, if not the host of the address. */
  readonly serverName?: string;
}

/** Options of the client for Node. */
export interface NodeClientOptions extends ClientOptions {
  /** Default `grpc`. All of them run over HTTP/2. */
  readonly protocol?: "grpc" | "grpc-web" | "connect";
  readonly tls?: TlsOptions;
  /** Largest message to send or take, in bytes. Default 256 MiB. */
  readonly maxMessageBytes?: number;
  /**
   * `gzip` compresses requests from 1 KiB on and accepts compressed answers. Default `none`: the
   * bytes of tensors compress badly, and it costs more time than a fast network does.
   */
  readonly compression?: "none" | "gzip";
}

const defaultMaxMessageBytes = 256 * 1024 * 1024;
/** Largest message that the length prefix of the protocols can say. */
const longestMessageBytes = 0xffff_ffff;

const protocols = {
  grpc: createGrpcTransport,
  "grpc-web": createGrpcWebTransport,
  connect: createConnectTransport,
} as const;

/**
 * Prepares a connection over HTTP/2; nothing is opened yet.
 *
 * @throws TensorwireError `PARAMETER_INVALID`
 */
export function createNodeConnection(baseUrl: string, options: NodeClientOptions): Connection {
  const address = parseAddress(baseUrl);
  const {
    protocol = "grpc",
    maxMessageBytes = defaultMaxMessageBytes,
    compression = "none",
  } = options;
  if (!Object.hasOwn(protocols, protocol)) {
    throw parameterInvalid("protocol", String(protocol), Object.keys(protocols).join(", "));
  }
  if (!(maxMessageBytes > 0 && maxMessageBytes <= longestMessageBytes)) {
    throw parameterInvalid("maxMessageBytes", `${maxMessageBytes}`, `1 to ${longestMessageBytes}`);
  }
  if (!["none", "gzip"].includes(compression)) {
    throw parameterInvalid("compression", String(compression), "none or gzip");
  }
  if (options.tls && !address.url.startsWith("https:")) {
    throw parameterInvalid("tls", `it with ${baseUrl}`, "an https:// address beside it");
  }
  const sessions = new LargeWindowSessionManager(
    address.url,
    undefined,
    sessionOptions(address, options.tls),
  );
  const gzip = compression === "gzip";
  const transport: Transport = protocols[protocol]({
    baseUrl: address.url,
    httpVersion: "2",
    sessionManager: sessions,
    interceptors: [...(options.interceptors ?? []), createHeaderInterceptor(options)],
    readMaxBytes: maxMessageBytes,
    writeMaxBytes: maxMessageBytes,
    acceptCompression: gzip ? [compressionGzip] : [],
    sendCompression: gzip ? compressionGzip : undefined,
  });
  return {
    transport,
    target: baseUrl,
    streams: protocol === "grpc-web" ? "answers-only" : "both-ways",
    close: () => sessions.abort(),
  };
}

interface Address {
  /** As Connect takes it; a unix socket gets a host name that stands for it. */
  readonly url: string;
  readonly socketPath?: string;
}

function parseAddress(baseUrl: string): Address {
  // As gRPC writes it: unix:relative, unix:/absolute, unix:///absolute.
  const unix = /^unix:(?:\/\/(?=\/))?(.+)$/.exec(String(baseUrl));
  if (unix) return { url: "http://localhost", socketPath: unix[1]! };
  const url = /^https?:\/\//i.test(baseUrl) ? baseUrl : `http://${baseUrl}`;
  if (
    !URL.canParse(url) ||
    baseUrl === "unix:" ||
    /^[a-z+.-]+:\/\//i.test(url.slice("http://".length))
  ) {
    throw parameterInvalid(
      "baseUrl",
      JSON.stringify(baseUrl),
      "http://host:port, https://host:port, host:port or unix:/path",
    );
  }
  return { url };
}

function sessionOptions(
  { socketPath }: Address,
  tls: TlsOptions | undefined,
): ClientSessionOptions | SecureClientSessionOptions {
  return {
    settings: { initialWindowSize: windowBytes, enablePush: false },
    ...(tls && {
      ca: asBuffer(tls.ca),
      cert: asBuffer(tls.cert),
      key: asBuffer(tls.key),
      servername: tls.serverName,
    }),
    ...(socketPath !== undefined && { createConnection: () => connectSocket(socketPath) }),
  };
}

function asBuffer(pem: string | Uint8Array | undefined): string | Buffer | undefined {
  return pem instanceof Uint8Array ? Buffer.from(pem) : pem;
}
