import { once } from "node:events";
import { Agent, type IncomingMessage, request } from "node:http";
import test, { type ExecutionContext } from "ava";
import { PeerGoneError } from "../../server/wire/request-signal.ts";
import { bodyOf, echo, openSocket, readAll, startWire, text } from "./start-wire.ts";

interface Answer {
  readonly message: IncomingMessage;
  readonly body: string;
}

async function call(
  port: number,
  options: object,
  body: string | Uint8Array = "",
): Promise<Answer> {
  const sent = request({ port, host: "127.0.0.1", ...options });
  sent.on("error", () => {});
  sent.end(body);
  const [message] = (await once(sent, "response")) as [IncomingMessage];
  return { message, body: Buffer.concat(await message.toArray()).toString() };
}

function keepAlive(t: ExecutionContext<unknown>): Agent {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  t.teardown(() => agent.destroy());
  return agent;
}

test("requests and answers follow each other on one connection", async (t) => {
  const { port, wire } = await startWire(t, async (received) => ({
    status: 200,
    header: new Headers([
      ["x-version", received.httpVersion],
      ["set-cookie", "a=1"],
      ["set-cookie", "b=2"],
    ]),
    body: text(`${received.method} ${received.url} ${await bodyOf(received)}`),
  }));
  const agent = keepAlive(t);
  const first = await call(
    port,
    { agent, method: "POST", path: "/a?b", headers: { host: "h" } },
    "1",
  );
  t.is(first.body, "POST http://h/a?b 1");
  t.is(first.message.headers["x-version"], "1.1");
  t.deepEqual(first.message.headers["set-cookie"], ["a=1", "b=2"]);
  t.is(
    (await call(port, { agent, method: "PUT", path: "/c", headers: { host: "h" } }, "2")).body,
    "PUT http://h/c 2",
  );
  t.is(wire.stats.openConnections, 1);
});

test("trailers follow a chunked body", async (t) => {
  const { port } = await startWire(t, async () => ({
    status: 200,
    body: text("m"),
    trailer: new Headers({ "x-end": "1" }),
  }));
  const { message, body } = await call(port, {});
  t.is(body, "m");
  t.is(message.trailers["x-end"], "1");
});

test("HEAD, 204 and answers without a body have none", async (t) => {
  const { port } = await startWire(t, async ({ url, method }) =>
    url.endsWith("/204")
      ? { status: 204 }
      : { status: 200, ...(method === "HEAD" ? { body: text("x") } : {}) },
  );
  const agent = keepAlive(t);
  t.is((await call(port, { agent, method: "HEAD", path: "/" })).body, "");
  t.is((await call(port, { agent, path: "/204" })).message.headers["content-length"], undefined);
  t.is((await call(port, { agent, path: "/" })).message.headers["content-length"], "0");
});

test("Expect: 100-continue is answered before the body", async (t) => {
  const { port } = await startWire(t, echo);
  const sent = request({
    port,
    host: "127.0.0.1",
    method: "POST",
    headers: { expect: "100-continue" },
  });
  sent.flushHeaders();
  await once(sent, "continue");
  sent.end("now");
  const [message] = (await once(sent, "response")) as [IncomingMessage];
  t.is(Buffer.concat(await message.toArray()).toString(), "now");
});

test("an answer to an upload that nobody reads arrives, and the connection serves the next", async (t) => {
  const { port, errors, wire } = await startWire(t, async ({ method }) => ({
    status: method === "POST" ? 413 : 200,
    body: text("answer"),
  }));
  const agent = keepAlive(t);
  const big = await call(port, { agent, method: "POST" }, Buffer.alloc(4 * 1024 * 1024));
  t.is(big.message.statusCode, 413);
  t.is(big.body, "answer");
  t.is((await call(port, { agent })).message.statusCode, 200);
  t.is(wire.stats.openConnections, 1);
  t.deepEqual(errors, []);
});

test("an upload that goes on and on after its answer is cut", async (t) => {
  const { port } = await startWire(t, async () => ({ status: 413 }));
  const socket = await openSocket(t, port);
  const received = readAll(socket);
  socket.write(`POST / HTTP/1.1\r\nhost: h\r\ncontent-length: ${2 ** 40}\r\n\r\n`);
  const upload = (): void => {
    while (!socket.destroyed && socket.write(Buffer.alloc(65_536)));
  };
  socket.on("drain", upload);
  upload();
  t.regex(await received, /^HTTP\/1.1 413 /);
});

test("a handler that rejects is answered with 500", async (t) => {
  const { port, errors } = await startWire(t, () => Promise.reject(new Error("broken")));
  t.is((await call(port, {})).message.statusCode, 500);
  t.is(errors[0]?.error.message, "broken");
  t.is(errors[0]?.where, "http1");
});

test("a body that fails cuts the connection", async (t) => {
  const received = Promise.withResolvers<void>();
  const { port } = await startWire(t, async () => ({
    status: 200,
    body: (async function* () {
      yield Buffer.from("some");
      await received.promise;
      throw new Error("broken");
    })(),
  }));
  const socket = await openSocket(t, port);
  socket.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  socket.once("data", () => received.resolve());
  const whole = await readAll(socket);
  t.regex(whole, /some/);
  t.false(whole.endsWith("0\r\n\r\n"), "the body must not look whole");
});

test("a peer that vanishes during an upload aborts the signal and fails the body", async (t) => {
  const seen = Promise.withResolvers<unknown[]>();
  const begun = Promise.withResolvers<void>();
  const { port } = await startWire(t, async ({ signal, body }) => {
    begun.resolve();
    const read = await Array.fromAsync(body as AsyncIterable<Uint8Array>).catch((error) => error);
    if (!signal.aborted) await once(signal, "abort");
    seen.resolve([signal.reason, read]);
    return { status: 200 };
  });
  const socket = await openSocket(t, port);
  socket.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf");
  await begun.promise;
  socket.resetAndDestroy();
  const [reason, read] = await seen.promise;
  t.true(reason instanceof PeerGoneError);
  t.true(read instanceof PeerGoneError);
});

test("a peer that vanishes during an answer leaves it", async (t) => {
  const left = Promise.withResolvers<void>();
  const { port } = await startWire(t, async () => ({
    status: 200,
    body: (async function* () {
      try {
        for (;;) yield new Uint8Array(65_536);
      } finally {
        left.resolve();
      }
    })(),
  }));
  const socket = await openSocket(t, port);
  socket.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  await once(socket, "data");
  socket.destroy();
  await left.promise;
  t.pass();
});

test("an upgrade is declined by an ordinary answer", async (t) => {
  const { port } = await startWire(t, async () => ({ status: 200, body: text("plain") }));
  const socket = await openSocket(t, port);
  socket.write(
    "GET / HTTP/1.1\r\nhost: h\r\nconnection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
  );
  const [part] = await once(socket, "data");
  t.regex(String(part), /^HTTP\/1.1 200 /);
});
