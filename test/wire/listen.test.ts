import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { request as request1 } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect as connectTls } from "node:tls";
import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import {
  echo,
  frame,
  http2Beginning,
  openHttp2,
  openSocket,
  readAll,
  request2,
  startWire,
  text,
} from "./start-wire.ts";

const certificates = new URL("../clients/typescript/certificates/", import.meta.url);
const pem = (name: string): Promise<Buffer> => readFile(new URL(name, certificates));

const ok = async () => ({ status: 200, body: text("ok") });

test("an address that is in use is named, with what to do", async (t) => {
  const { port } = await startWire(t, ok);
  const error = await t.throwsAsync(() => startWire(t, ok, { tcp: { host: "127.0.0.1", port } }), {
    instanceOf: TensorwireError,
    message: /in use; stop the program/,
  });
  t.is(error.reason, "LISTEN_FAILED");
  t.true(error.message.includes(`127.0.0.1:${port}`));
});

test("an address that this machine lacks is named", async (t) => {
  await t.throwsAsync(() => startWire(t, ok, { tcp: { host: "192.0.2.1", port: 0 } }), {
    instanceOf: TensorwireError,
    message: /192\.0\.2\.1:0: this machine has no such address/,
  });
});

test("HTTP/2 and HTTP/1.1 share the port, also when their first bytes come one by one", async (t) => {
  const { port } = await startWire(t, async ({ httpVersion }) => ({
    status: 200,
    body: text(httpVersion),
  }));
  t.is((await request2(openHttp2(t, port), { ":path": "/" })).body.toString(), "2.0");
  const socket = await openSocket(t, port);
  socket.setNoDelay(true);
  for (const byte of "PUT / HTTP/1.1\r\nhost: h\r\nconnection: close\r\ncontent-length: 0\r\n\r\n") {
    socket.write(byte);
    await new Promise((resolve) => setImmediate(resolve));
  }
  t.regex(await readAll(socket), /1\.1/);
});

test("TLS speaks both by ALPN", async (t) => {
  const [cert, key, ca] = await Promise.all(["server.pem", "server.key", "ca.pem"].map(pem));
  const { port } = await startWire(
    t,
    async ({ url, httpVersion }) => ({ status: 200, body: text(`${httpVersion} ${url}`) }),
    { tls: { cert: cert!, key: key! } },
  );
  const session = openHttp2(t, port, { ca: ca! });
  const answer = await request2(session, { ":path": "/a" });
  t.is(answer.body.toString(), `2.0 https://localhost:${port}/a`);
  const sent = httpsRequest({ host: "127.0.0.1", port, ca, path: "/b", servername: "localhost" });
  sent.end();
  const [message] = await once(sent, "response");
  t.is(Buffer.concat(await message.toArray()).toString(), `1.1 https://127.0.0.1:${port}/b`);
});

test("with an authority for callers, only those with its certificates get in", async (t) => {
  const names = ["server.pem", "server.key", "ca.pem", "client.pem", "client.key"];
  const [cert, key, ca, clientCert, clientKey] = await Promise.all(names.map(pem));
  const { port, errors } = await startWire(t, ok, {
    tls: { cert: cert!, key: key!, clientCa: ca! },
  });
  const known = openHttp2(t, port, { ca: ca!, cert: clientCert!, key: clientKey! });
  t.is((await request2(known, { ":path": "/" })).body.toString(), "ok");
  const stranger = connectTls({ host: "127.0.0.1", port, ca, ALPNProtocols: ["h2"] });
  stranger.on("error", () => {});
  await readAll(stranger);
  t.is(errors[0]?.where, "tls");
});

test("what is not TLS on a TLS port is reported and closed", async (t) => {
  const [cert, key] = await Promise.all([pem("server.pem"), pem("server.key")]);
  const { port, errors } = await startWire(t, ok, { tls: { cert, key } });
  const socket = await openSocket(t, port);
  socket.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  await readAll(socket);
  t.is(errors[0]?.where, "tls");
});

test("connections above the limit are closed, and counted", async (t) => {
  const { port, wire } = await startWire(t, ok, { limits: { maxConnections: 2 } });
  const session = openHttp2(t, port);
  await request2(session, { ":path": "/" });
  const second = openHttp2(t, port);
  await request2(second, { ":path": "/" });
  const third = await openSocket(t, port);
  t.is(await readAll(third), "");
  t.like(wire.stats, { openConnections: 2, openStreams: 0 });
  t.is(wire.stats.refusals.connections, 1);
  t.is((await request2(session, { ":path": "/" })).body.toString(), "ok");
});

test("streams above the limit are refused", async (t) => {
  const release = Promise.withResolvers<void>();
  const { port } = await startWire(
    t,
    async () => {
      await release.promise;
      return ok();
    },
    { limits: { maxConcurrentStreams: 2 } },
  );
  const session = openHttp2(t, port);
  await once(session, "remoteSettings");
  t.is(session.remoteSettings.maxConcurrentStreams, 2);
  const calls = [1, 2].map(() => request2(session, { ":path": "/" }));
  release.resolve();
  t.deepEqual(
    (await Promise.all(calls)).map(({ status }) => status),
    [200, 200],
  );
});

for (const [name, bytes] of [
  ["silent", ""],
  ["that stops in the preface", "PR"],
  ["that stops after it said HTTP/2", "PRI * HTTP/2.0\r\n"],
  ["that stops after the preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"],
  ["that stops in its headers", "GET / HTTP/1.1\r\nhost:"],
] as const) {
  test(`a connection ${name} is closed after the time for a handshake`, async (t) => {
    const { port, wire } = await startWire(t, ok, { limits: { handshakeTimeoutMs: 200 } });
    const socket = await openSocket(t, port);
    socket.write(bytes);
    await readAll(socket);
    t.is(wire.stats.openStreams, 0);
  });
}

test("a TLS connection without a handshake is closed", async (t) => {
  const [cert, key] = await Promise.all([pem("server.pem"), pem("server.key")]);
  const { port } = await startWire(t, ok, {
    tls: { cert, key },
    limits: { handshakeTimeoutMs: 200 },
  });
  await readAll(await openSocket(t, port));
  t.pass();
});

test("an idle connection is closed, one with a call at work is not", async (t) => {
  const release = Promise.withResolvers<void>();
  const { port } = await startWire(
    t,
    async ({ url }) => {
      if (url.endsWith("/slow")) await release.promise;
      return ok();
    },
    { limits: { idleTimeoutMs: 200 } },
  );
  const slow2 = request2(openHttp2(t, port), { ":path": "/slow" });
  const slow1 = request1({ port, host: "127.0.0.1", path: "/slow" });
  slow1.end();
  const answer1 = once(slow1, "response");
  const idle2 = openHttp2(t, port);
  await request2(idle2, { ":path": "/" });
  const idle1 = await openSocket(t, port);
  idle1.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  await Promise.all([once(idle2, "close"), readAll(idle1)]);
  // A second round, so that the calls at work have been silent for longer than the limit.
  const late = openHttp2(t, port);
  await request2(late, { ":path": "/" });
  await once(late, "close");
  release.resolve();
  t.is((await slow2).body.toString(), "ok");
  const [message] = await answer1;
  t.is(message.statusCode, 200);
});

test("an HTTP/1.1 upload that pauses for too long is cut", async (t) => {
  const { port } = await startWire(t, echo, { limits: { idleTimeoutMs: 200 } });
  const socket = await openSocket(t, port);
  socket.write("POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\nhalf");
  t.is(await readAll(socket), "");
});

test("headers above the limit are refused", async (t) => {
  const { port, wire } = await startWire(t, ok);
  const socket = await openSocket(t, port);
  socket.write(`GET / HTTP/1.1\r\nhost: h\r\nx: ${"y".repeat(40_000)}\r\n\r\n`);
  t.regex(await readAll(socket), /^HTTP\/1.1 431 /);
  const session = openHttp2(t, port);
  // Before the client has heard of the limit, and after.
  t.is((await request2(session, { ":path": "/", x: "y".repeat(40_000) })).status, 431);
  t.is((await request2(session, { ":path": "/", x: "y".repeat(40_000) })).status, 431);
  t.is((await request2(session, { ":path": "/" })).body.toString(), "ok");
  t.is(wire.stats.openStreams, 0);
});

test("header blocks without end close the connection", async (t) => {
  const { port } = await startWire(t, ok);
  const socket = await openSocket(t, port);
  const received = readAll(socket);
  socket.write(http2Beginning);
  // GET, http, /, authority h, and no END_HEADERS
  socket.write(frame(1, 0, 1, Buffer.from([0x82, 0x86, 0x84, 0x41, 1, 0x68])));
  const field = Buffer.concat([
    Buffer.from([0x00, 0x01, 0x78, 0x7f, 0x81, 0x3e]),
    Buffer.alloc(8_192, "y"),
  ]);
  const flood = (): void => {
    while (!socket.destroyed && socket.write(frame(9, 0, 1, field)));
  };
  socket.on("drain", flood);
  flood();
  await received;
  const other = openHttp2(t, port);
  t.is((await request2(other, { ":path": "/" })).body.toString(), "ok");
});

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
const anyFrame = fc
  .tuple(
    fc.integer({ min: 0, max: 12 }),
    fc.integer({ min: 0, max: 255 }),
    fc.integer({ min: 0, max: 9 }),
    fc.uint8Array({ maxLength: 60 }),
  )
  .map(([type, flags, stream, payload]) => frame(type, flags, stream, Buffer.from(payload)));
const garbage = fc.oneof(
  fc.uint8Array({ minLength: 3, maxLength: 200 }).map((bytes) => Buffer.from(bytes)),
  fc.uint8Array({ maxLength: 100 }).map((bytes) => Buffer.concat([preface, bytes])),
  fc.array(anyFrame, { maxLength: 8 }).map((frames) => Buffer.concat([http2Beginning, ...frames])),
  fc
    .tuple(fc.constantFrom("GET", "POST", "PUT"), fc.string({ unit: "binary", maxLength: 100 }))
    .map(([method, rest]) =>
      Buffer.from(`${method} / HTTP/1.1\r\nhost: h\r\n${rest}\r\n\r\n`, "latin1"),
    ),
);

test("whatever bytes a client sends, the server goes on", async (t) => {
  const { port, wire } = await startWire(t, echo);
  await fc.assert(
    fc.asyncProperty(garbage, fc.boolean(), async (bytes, reset) => {
      const socket = await openSocket(t, port);
      const received = readAll(socket);
      await new Promise((resolve) => socket.write(bytes, resolve));
      if (reset) socket.resetAndDestroy();
      else socket.end();
      await received;
    }),
    { numRuns: 300 },
  );
  const answer = await request2(
    openHttp2(t, port),
    { ":method": "POST", ":path": "/" },
    Buffer.from("x"),
  );
  t.is(answer.body.toString(), "x");
  t.true(wire.stats.openStreams <= 1);
});

test("draining lets calls end, tells peers, and takes no new connection", async (t) => {
  const release = Promise.withResolvers<void>();
  const { port, wire } = await startWire(t, async ({ url }) => {
    if (url.endsWith("/slow")) await release.promise;
    return ok();
  });
  const session = openHttp2(t, port);
  await request2(session, { ":path": "/" });
  const goaway = once(session, "goaway");
  const slow2 = request2(session, { ":path": "/slow" });
  const busy1 = await openSocket(t, port);
  busy1.write("GET /slow HTTP/1.1\r\nhost: h\r\n\r\n");
  const busy1Received = readAll(busy1);
  const idle1 = await openSocket(t, port);
  idle1.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  await once(idle1, "data");
  const silent = await openSocket(t, port);
  // Both slow calls are under way when both are counted.
  while (wire.stats.openStreams < 2) await request2(openHttp2(t, port), { ":path": "/" });

  let drained = false;
  const end = wire.drain().then(() => {
    drained = true;
  });
  await goaway;
  await Promise.all([readAll(idle1), readAll(silent)]);
  const late = await new Promise((resolve) => {
    const sent = request1({ port, host: "127.0.0.1" });
    sent.once("error", resolve);
    sent.once("response", resolve);
    sent.end();
  });
  t.is((late as NodeJS.ErrnoException).code, "ECONNREFUSED");
  t.false(drained);
  release.resolve();
  t.is((await slow2).body.toString(), "ok");
  t.regex(await busy1Received, /^HTTP\/1.1 200 /);
  await end;
  t.like(wire.stats, { openConnections: 0, openStreams: 0 });
});

test("destroying ends everything at once", async (t) => {
  const { port, wire } = await startWire(t, () => new Promise(() => {}));
  const session = openHttp2(t, port);
  const hanging = request2(session, { ":path": "/" });
  const socket = await openSocket(t, port);
  socket.write("GET / HTTP/1.1\r\nhost: h\r\n\r\n");
  while (wire.stats.openStreams < 2) await new Promise((resolve) => setImmediate(resolve));
  await wire.destroy();
  await hanging;
  await readAll(socket);
  t.is(wire.stats.openConnections, 0);
});
