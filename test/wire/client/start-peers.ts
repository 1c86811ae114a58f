import { once } from "node:events";
import { createServer as createHttp2, type Http2Server, type ServerHttp2Stream } from "node:http2";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { ExecutionContext } from "ava";
import type { WireChannelOptions } from "../../../server/wire/client/channel-options.ts";
import { type ForwardOptions, forwardStream } from "../../../server/wire/client/forward-stream.ts";
import { WireChannel } from "../../../server/wire/client/wire-channel.ts";
import { Http2Connection } from "../../../server/wire/http2/http2-connection.ts";
import type { WheelClock } from "../../../server/wire/timer-wheel.ts";
import { defaultWireLimits } from "../../../server/wire/wire-server.ts";
import { rawPreface, settingsFrame } from "../../support/raw-http2-frames.ts";
import { RawHttp2Peer, type RawPeerOptions } from "../../support/raw-http2-peer.ts";

type Context = Pick<ExecutionContext<unknown>, "teardown">;

/** A channel that is destroyed with the test. */
export function openChannel(
  t: Context,
  target: number | string,
  options: Partial<WireChannelOptions> = {},
): WireChannel {
  const channel = new WireChannel({
    target: typeof target === "number" ? { host: "127.0.0.1", port: target } : { unix: target },
    ...options,
  });
  t.teardown(() => channel.destroy());
  return channel;
}

/** A server of node:http2 on a free port until the test ends. */
export async function startNodeHttp2(
  t: Context,
  onStream: (stream: ServerHttp2Stream, headers: Record<string, unknown>) => void,
  options: Parameters<typeof createHttp2>[0] = {},
): Promise<{ readonly server: Http2Server; readonly port: number }> {
  const server = createHttp2(options ?? {});
  const sessions = new Set<{ destroy(): void }>();
  server.on("session", (session) => {
    sessions.add(session);
    session.on("error", () => {});
    session.once("close", () => sessions.delete(session));
  });
  server.on("stream", (stream, headers) => {
    stream.on("error", () => {});
    onStream(stream, headers);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    for (const session of sessions) session.destroy();
    server.close();
  });
  return { server, port: (server.address() as AddressInfo).port };
}

/** A server that does what a test says with each connection, until the test ends. */
export async function startSockets(
  t: Context,
  onSocket: (socket: Socket) => void,
  where: { readonly port: number } | { readonly path: string } = { port: 0 },
): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on("error", () => {});
    socket.once("close", () => sockets.delete(socket));
    onSocket(socket);
  });
  if ("path" in where) server.listen(where.path);
  else server.listen(where.port, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return "path" in where ? 0 : (server.address() as AddressInfo).port;
}

/** Servers made of raw frames: each connection of a client, in order. */
export interface RawServer {
  readonly port: number;
  /** The next connection that came, with its preface read away. */
  next(): Promise<RawHttp2Peer>;
}

/** A server that sends its SETTINGS and else what a test says. */
export async function startRawServer(t: Context, options: RawPeerOptions = {}): Promise<RawServer> {
  const come: RawHttp2Peer[] = [];
  const wanted: ((peer: RawHttp2Peer) => void)[] = [];
  const port = await startSockets(t, (socket) => {
    let left = rawPreface.length;
    // The preface is no frame: the peer that reads frames must not see it.
    const emit = socket.emit.bind(socket);
    socket.emit = (event: string | symbol, ...values: unknown[]): boolean => {
      if (event !== "data" || left === 0) return emit(event, ...values);
      const chunk = values[0] as Buffer;
      const rest = chunk.subarray(Math.min(left, chunk.length));
      left -= chunk.length - rest.length;
      return rest.length === 0 ? true : emit(event, rest);
    };
    const peer = new RawHttp2Peer(socket, options);
    if (options.begins !== false) peer.write(settingsFrame(...(options.settings ?? [])));
    const want = wanted.shift();
    if (want) want(peer);
    else come.push(peer);
  });
  return {
    port,
    next: () => {
      const peer = come.shift();
      return peer ? Promise.resolve(peer) : new Promise((resolve) => wanted.push(resolve));
    },
  };
}

/** A port on which nobody listens. */
export async function deadPort(): Promise<number> {
  const server = createServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

/** A clock that stands until a test moves it. */
export class VirtualClock implements WheelClock {
  #now = 0;
  readonly #timers = new Set<{ readonly at: number; readonly action: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, action: () => void): () => void {
    const timer = { at: this.#now + ms, action };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** Timers that wait, by the time until they fire, in ms. */
  get pending(): number[] {
    return [...this.#timers].map(({ at }) => at - this.#now).sort((a, b) => a - b);
  }

  /** Moves on, and fires what is due in order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = [...this.#timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0];
      if (!due) break;
      this.#timers.delete(due);
      this.#now = Math.max(this.#now, due.at);
      due.action();
    }
    this.#now = end;
  }
}

/** Forwards all that comes on a free port to a channel, until the test ends. */
export async function startForwarder(
  t: Context,
  channel: WireChannel,
  options: ForwardOptions = {},
): Promise<number> {
  return startSockets(t, (socket) => {
    new Http2Connection(socket, true, defaultWireLimits, {
      onRequest: (stream, head, endStream) =>
        forwardStream(stream, head, endStream, channel, options),
      onStreams() {},
      onRefusal() {},
      onClose() {},
    });
    socket.resume();
  });
}
