import { once } from "node:events";
import { connect, type Socket } from "node:net";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { forwardStream } from "../../../server/wire/client/forward-stream.ts";
import { Http1Channel } from "../../../server/wire/client/http1-channel.ts";
import { listenWire } from "../../../server/wire/listen.ts";
import { call1, textOfRequest } from "../../queue-proxy/http-calls.ts";
import { startUserServer } from "../../queue-proxy/start-user-server.ts";
import { until } from "../../support/until.ts";

/** A server of node:http behind a forwarder of HTTP/1.1. */
async function through(t: ExecutionContext) {
  const user = await startUserServer(t);
  const channel = new Http1Channel({ target: { host: "127.0.0.1", port: user.port } });
  const thrown: unknown[] = [];
  const wire = await listenWire({
    tcp: { host: "127.0.0.1", port: 0 },
    streams: (stream, head, bare) => {
      try {
        forwardStream(stream, head, bare, channel);
      } catch (error) {
        thrown.push(error);
      }
    },
    onError: () => {},
  });
  t.teardown(async () => {
    await wire.destroy();
    channel.destroy();
  });
  return { port: wire.tcpAddress!.port, wire, user, channel, thrown };
}

async function send(port: number, pieces: readonly Buffer[]): Promise<void> {
  const socket: Socket = connect(port, "127.0.0.1");
  socket.on("error", () => {});
  await once(socket, "connect");
  socket.resume();
  for (const piece of pieces) {
    if (socket.destroyed) break;
    socket.write(piece);
    await new Promise((resolve) => setImmediate(resolve));
  }
  socket.end();
  // A request that hangs in the air is given up with its caller.
  await new Promise<void>((resolve) => {
    socket.once("close", () => resolve());
    setImmediate(() => socket.destroy());
  });
}

const good = fc.constantFrom(
  textOfRequest({ path: "/echo" }),
  textOfRequest({ method: "POST", path: "/echo", body: "hello" }),
  textOfRequest({ method: "POST", path: "/echo", body: "hello chunks", chunked: true }),
  textOfRequest({ path: "/ws", headers: { Connection: "Upgrade", Upgrade: "echo" } }),
);
const mutation = fc.record({
  at: fc.nat(400),
  kind: fc.constantFrom("flip", "cut", "insert", "none"),
  byte: fc.integer({ min: 0, max: 255 }),
});

function mutate(bytes: Buffer, { at, kind, byte }: { at: number; kind: string; byte: number }) {
  const place = at % bytes.length;
  switch (kind) {
    case "flip": {
      const copy = Buffer.from(bytes);
      copy[place] = byte;
      return copy;
    }
    case "cut":
      return bytes.subarray(0, place);
    case "insert":
      return Buffer.concat([bytes.subarray(0, place), Buffer.from([byte]), bytes.subarray(place)]);
    default:
      return bytes;
  }
}

test("whatever a caller sends, it is answered or closed, and others are served", async (t) => {
  const { port, wire, thrown } = await through(t);
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(good, mutation), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 60 }),
      async (requests, step) => {
        const bytes = Buffer.concat(requests.map(([request, change]) => mutate(request, change)));
        const pieces: Buffer[] = [];
        for (let at = 0; at < bytes.length; at += step * 7) {
          pieces.push(bytes.subarray(at, at + step * 7));
        }
        await send(port, pieces);
      },
    ),
    { numRuns: 150 },
  );
  const answer = await call1(port, { path: "/echo" });
  t.is(answer.status, 200);
  t.deepEqual(thrown, []);
  await until(
    () => wire.stats.openStreams === 0,
    () => `${wire.stats.openStreams} requests are open`,
  );
});

test("a caller that does not read holds the server back, and both bodies come whole", async (t) => {
  const { port, user } = await through(t);
  const size = 20_000_000;
  const socket = connect(port, "127.0.0.1");
  await once(socket, "connect");
  socket.write(textOfRequest({ path: `/big?n=${size}` }));
  await until(() => user.seen.get("/big") === 1);
  let got = 0;
  for await (const part of socket) {
    got += (part as Buffer).length;
    if (got > size) break;
  }
  t.true(got > size);
  const body = Buffer.alloc(5_000_000, "y");
  const answer = await call1(port, { method: "POST", path: "/echo", body, chunked: true });
  t.is((JSON.parse(answer.body) as { bytes: number }).bytes, body.length);
});
