import { once } from "node:events";
import type { Socket } from "node:net";
import test, { type ExecutionContext } from "ava";
import { Http1Channel } from "../../../server/wire/client/http1-channel.ts";
import type { Http1ChannelOptions } from "../../../server/wire/client/http1-options.ts";
import type { WireCallReceiver } from "../../../server/wire/client/wire-call.ts";
import type { WireCallError } from "../../../server/wire/client/wire-call-error.ts";
import type { HeaderField } from "../../../server/wire/http2/hpack/header-field.ts";
import type { ResponseHead } from "../../../server/wire/http2/message-head.ts";
import { until } from "../../support/until.ts";
import { deadPort, startSockets } from "./start-peers.ts";

/** What a call came to. */
class Outcome implements WireCallReceiver {
  status = 0;
  body = "";
  trailers: readonly HeaderField[] = [];
  error: WireCallError | undefined;
  ended = false;

  onHead(head: ResponseHead, endStream: boolean): void {
    this.status = head.status;
    this.ended = endStream;
  }

  onData(bytes: Buffer, endStream: boolean): void {
    this.body += bytes.toString("latin1");
    if (endStream) this.ended = true;
  }

  onTrailers(fields: readonly HeaderField[]): void {
    this.trailers = fields;
    this.ended = true;
  }

  onFailure(error: WireCallError): void {
    this.error = error;
    this.ended = true;
  }
}

function open(
  t: ExecutionContext,
  port: number,
  options: Partial<Http1ChannelOptions> = {},
): Http1Channel {
  const channel = new Http1Channel({ target: { host: "127.0.0.1", port }, ...options });
  t.teardown(() => channel.destroy());
  return channel;
}

async function call(
  channel: Http1Channel,
  method: string,
  body?: string,
): Promise<{ readonly outcome: Outcome }> {
  const outcome = new Outcome();
  const request = channel.call(
    {
      path: "/",
      method,
      fields: [
        [":method", method],
        [":path", "/"],
        [":authority", "host"],
        ...(body === undefined ? [] : ([["content-length", `${body.length}`]] as const)),
      ],
      ...(body === undefined ? { body: "none" } : {}),
    },
    outcome,
  );
  if (body !== undefined) request.write(Buffer.from(body), true);
  await until(() => outcome.ended);
  return { outcome };
}

const good = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/** A server that does one thing with each request, in turn; the last one again and again. */
async function startScript(
  t: ExecutionContext,
  ...steps: ((socket: Socket, count: number) => void)[]
): Promise<{ readonly port: number; readonly requests: () => number; readonly sockets: Socket[] }> {
  let requests = 0;
  const sockets: Socket[] = [];
  const port = await startSockets(t, (socket) => {
    sockets.push(socket);
    socket.on("data", (bytes: Buffer) => {
      if (!bytes.includes("HTTP/1.1")) return;
      const step = steps[Math.min(requests, steps.length - 1)]!;
      requests++;
      step(socket, requests);
    });
  });
  return { port, requests: () => requests, sockets };
}

test("a connection serves one call after the other", async (t) => {
  const server = await startScript(t, (socket) => socket.write(good));
  const channel = open(t, server.port);
  for (let count = 0; count < 3; count++) {
    const { outcome } = await call(channel, "GET");
    t.is(outcome.body, "ok");
  }
  t.is(server.sockets.length, 1);
  t.deepEqual(channel.stats, { connections: 1, idle: 1, queued: 0, retries: 0 });
});

test("GET that meets a connection which the server closes is sent again; POST is not", async (t) => {
  const close = (socket: Socket): void => void socket.end();
  const server = await startScript(
    t,
    (socket) => socket.write(good),
    close,
    (socket) => socket.write(good),
    close,
    (socket) => socket.write(good),
  );
  const channel = open(t, server.port);
  t.is((await call(channel, "GET")).outcome.body, "ok");
  // The second request is closed upon, and comes again as the third.
  t.is((await call(channel, "GET")).outcome.body, "ok");
  t.is(server.requests(), 3);
  t.is(channel.stats.retries, 1);
  const { outcome } = await call(channel, "POST", "paid once");
  t.is(outcome.error?.kind, "lost");
  t.is(server.requests(), 4);
});

test("a call on a new connection that is closed is not sent again", async (t) => {
  const server = await startScript(t, (socket) => void socket.end());
  const { outcome } = await call(open(t, server.port), "GET");
  t.is(outcome.error?.kind, "lost");
  t.is(server.requests(), 1);
});

test("a connection that idles is closed, sooner if the server says that it closes", async (t) => {
  const server = await startScript(t, (socket) =>
    socket.write("HTTP/1.1 200 OK\r\nKeep-Alive: timeout=1\r\nContent-Length: 2\r\n\r\nok"),
  );
  const channel = open(t, server.port, { idleTimeoutMs: 3_600_000 });
  await call(channel, "GET");
  await once(server.sockets[0]!, "close");
  await until(() => channel.stats.connections === 0);
  t.pass();
});

test("what comes unasked closes a connection, and answers no call", async (t) => {
  const server = await startScript(t, (socket) => socket.write(good));
  const channel = open(t, server.port);
  await call(channel, "GET");
  server.sockets[0]!.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
  await once(server.sockets[0]!, "close");
  t.is((await call(channel, "GET")).outcome.body, "ok");
  t.is(server.sockets.length, 2);
});

test("more than was announced closes a connection, too", async (t) => {
  const server = await startScript(t, (socket) => socket.write(`${good}more`));
  const channel = open(t, server.port);
  t.is((await call(channel, "GET")).outcome.body, "ok");
  await until(() => channel.stats.connections === 0);
  t.is((await call(channel, "GET")).outcome.body, "ok");
});

for (const [what, text] of [
  ["no HTTP", "hello\r\n\r\n"],
  ["two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"],
  [
    "101 that nobody asked for",
    "HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
  ],
  ["chunks that are none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"],
  ["a head without end", `HTTP/1.1 200 OK\r\nX: ${"y".repeat(70_000)}`],
] as const) {
  test(`an answer is refused: ${what}`, async (t) => {
    const server = await startScript(t, (socket) => socket.write(text));
    const { outcome } = await call(open(t, server.port), "GET");
    t.is(outcome.error?.kind, "protocol");
  });
}

test("a server that is not there, and calls beyond the bounds", async (t) => {
  const { outcome } = await call(open(t, await deadPort()), "GET");
  t.is(outcome.error?.kind, "unavailable");
  t.regex(outcome.error!.message, /ECONNREFUSED/);
  const server = await startScript(t, () => {});
  const channel = open(t, server.port, { maxConnections: 1, maxWaitingCalls: 1 });
  void call(channel, "GET");
  await until(() => server.requests() === 1);
  void call(channel, "GET");
  const { outcome: refused } = await call(channel, "GET");
  t.is(refused.error?.kind, "queue-full");
});

test("answers to HEAD and with 204 have no content, and the connection goes on", async (t) => {
  const server = await startScript(
    t,
    (socket) => socket.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"),
    (socket) => socket.write("HTTP/1.1 204 No Content\r\n\r\n"),
    (socket) => socket.write(good),
  );
  const channel = open(t, server.port);
  t.is((await call(channel, "HEAD")).outcome.status, 200);
  t.is((await call(channel, "DELETE")).outcome.status, 204);
  t.is((await call(channel, "GET")).outcome.body, "ok");
  t.is(server.sockets.length, 1);
});
