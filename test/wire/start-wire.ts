import { once } from "node:events";
import {
  type ClientHttp2Session,
  type ClientSessionOptions,
  connect,
  type IncomingHttpHeaders,
  type OutgoingHttpHeaders,
} from "node:http2";
import { connect as connectSocket, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import type {
  UniversalHandlerFn,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import type { ExecutionContext } from "ava";
import { listenWire } from "../../server/wire/listen.ts";
import {
  defaultWireLimits,
  type WireLimits,
  type WireServer,
  type WireServerOptions,
} from "../../server/wire/wire-server.ts";

/** Limits that no test reaches by chance. */
export const wideLimits: WireLimits = {
  ...defaultWireLimits,
  maxConnections: 100,
  maxConcurrentStreams: 100,
  maxHeaderListBytes: 32 * 1024,
  handshakeTimeoutMs: 20_000,
  idleTimeoutMs: 60_000,
};

/** A server of a test, and what it reported. */
export interface TestWire {
  readonly wire: WireServer;
  readonly port: number;
  readonly errors: { readonly where: string; readonly error: Error }[];
}

/** Listens on a free port until the test ends. */
export async function startWire(
  t: ExecutionContext<unknown>,
  handler: UniversalHandlerFn,
  {
    limits,
    ...options
  }: Partial<Omit<WireServerOptions, "limits">> & {
    readonly limits?: Partial<WireLimits>;
  } = {},
): Promise<TestWire> {
  const errors: { where: string; error: Error }[] = [];
  const wire = await listenWire({
    tcp: { host: "127.0.0.1", port: 0 },
    limits: { ...wideLimits, ...limits },
    handler,
    onError: (error, where) => errors.push({ where, error }),
    ...options,
  });
  t.teardown(() => wire.destroy());
  return { wire, port: wire.tcpAddress?.port ?? 0, errors };
}

/** Opens an HTTP/2 connection until the test ends. */
export function openHttp2(
  t: ExecutionContext<unknown>,
  port: number,
  options: ClientSessionOptions & {
    readonly ca?: Buffer;
    readonly cert?: Buffer;
    readonly key?: Buffer;
  } = {},
): ClientHttp2Session {
  const session = connect(`${options.ca ? "https" : "http"}://localhost:${port}`, {
    // The name may have an IPv6 address too, where nobody listens.
    ...(options.ca
      ? { host: "127.0.0.1" }
      : { createConnection: () => connectSocket(port, "127.0.0.1") }),
    ...options,
  });
  session.on("error", () => {});
  t.teardown(() => session.destroy());
  return session;
}

/** What came back on a stream. */
export interface Http2Answer {
  readonly status: number | undefined;
  readonly headers: IncomingHttpHeaders;
  readonly trailers: IncomingHttpHeaders | undefined;
  readonly body: Buffer;
  readonly rstCode: number | undefined;
}

/** Sends a request and waits until its stream is closed, however that comes about. */
export async function request2(
  session: ClientHttp2Session,
  headers: OutgoingHttpHeaders,
  body?: Uint8Array,
): Promise<Http2Answer> {
  const stream = session.request(headers, { endStream: body === undefined });
  const parts: Buffer[] = [];
  let answered: IncomingHttpHeaders = {};
  let trailers: IncomingHttpHeaders | undefined;
  stream.on("error", () => {});
  let status: number | undefined;
  stream.on("response", (fields) => {
    answered = fields;
    status = fields[":status"];
  });
  stream.on("trailers", (fields) => {
    trailers = fields;
  });
  stream.on("data", (part: Buffer) => parts.push(part));
  if (body) stream.end(body);
  await closed(stream);
  return {
    status,
    headers: answered,
    trailers,
    body: Buffer.concat(parts),
    rstCode: stream.rstCode,
  };
}

/** Opens a plain connection until the test ends. */
export async function openSocket(t: ExecutionContext<unknown>, port: number): Promise<Socket> {
  const socket = connectSocket(port, "127.0.0.1");
  socket.on("error", () => {});
  t.teardown(() => socket.destroy());
  await once(socket, "connect");
  return socket;
}

/** Waits until a stream is closed, with or without an error. */
export function closed(stream: Duplex): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve();
    else stream.once("close", () => resolve());
  });
}

/** All that a socket receives until it is closed. */
export async function readAll(socket: Socket): Promise<string> {
  const parts: Buffer[] = [];
  socket.on("data", (part: Buffer) => parts.push(part));
  await closed(socket);
  return Buffer.concat(parts).toString("latin1");
}

/** An HTTP/2 frame (RFC 9113, section 4.1). */
export function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head.writeUInt8(type, 3);
  head.writeUInt8(flags, 4);
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

/** What an HTTP/2 client sends first: preface and empty settings. */
export const http2Beginning = Buffer.concat([
  Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
  frame(4, 0, 0, Buffer.alloc(0)),
]);

/** Body of a request as bytes. */
export async function bodyOf(request: UniversalServerRequest): Promise<Buffer> {
  return Buffer.concat(await Array.fromAsync(request.body as AsyncIterable<Uint8Array>));
}

/** Answers 200 with the request's body. */
export async function echo(request: UniversalServerRequest): Promise<UniversalServerResponse> {
  return { status: 200, body: chunks(await bodyOf(request)) };
}

/** Chunks as a body. */
export async function* chunks(...parts: Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}

/** Text of a body. */
export function text(value: string): AsyncIterable<Uint8Array> {
  return chunks(Buffer.from(value));
}
