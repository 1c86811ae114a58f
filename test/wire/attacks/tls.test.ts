import { readFile } from "node:fs/promises";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import test, { type ExecutionContext } from "ava";
import { requestBlock } from "../../support/raw-hpack.ts";
import {
  dataFrame,
  headersFrame,
  pingFrame,
  rawFlag,
  rawSetting,
  resetFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";
import { openHttp2, openSocket, readAll, startWire, text } from "../start-wire.ts";
import { attackWire, connectionsAre } from "./attacked-wire.ts";

const certificates = new URL("../../clients/typescript/certificates/", import.meta.url);
const pem = (name: string): Promise<Buffer> => readFile(new URL(name, certificates));
const [cert, key, ca] = await Promise.all([pem("server.pem"), pem("server.key"), pem("ca.pem")]);
const options = { tls: { cert, key } };
const hang = requestBlock("/hang");

test("streams opened to be reset end the connection, with TLS", (t) =>
  attackWire(t, { refusals: ["stream-resets"], options, ca }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { ca });
    await peer.flood(10_000, (turn) =>
      Buffer.concat([headersFrame(2 * turn + 1, hang), resetFrame(2 * turn + 1)]),
    );
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

test("a flood of PING ends the connection, with TLS", (t) =>
  attackWire(t, { refusals: ["control-frames"], options, ca }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { ca });
    await peer.flood(100_000, () => pingFrame());
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

test("a socket that is not read is closed, with TLS", (t) =>
  attackWire(
    t,
    { refusals: ["slow-read"], limits: { stallTimeoutMs: 300 }, options, ca },
    async ({ port, wire }) => {
      const peer = await openRawPeer(t, port, {
        ca,
        settings: [[rawSetting.initialWindowSize, 2 ** 31 - 1]],
      });
      peer.write(windowUpdateFrame(0, 2 ** 31 - 1 - 65_535));
      await peer.roundTrip();
      peer.stopReading();
      for (let id = 1; id < 20; id += 2) peer.write(headersFrame(id, requestBlock("/large")));
      await connectionsAre(wire, 1);
    },
  ));

test("empty DATA ends the connection, with TLS", (t) =>
  attackWire(t, { refusals: ["empty-frames"], options, ca }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { ca });
    peer.write(headersFrame(1, hang, rawFlag.endHeaders));
    await peer.flood(100_000, () => dataFrame(1));
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

for (const bytes of [0, 1, 100]) {
  test(`a TLS handshake that stops after ${bytes} bytes is closed`, (t) =>
    attackWire(
      t,
      {
        refusals: ["handshake-timeout"],
        limits: { handshakeTimeoutMs: 300 },
        options,
        ca,
      },
      async ({ port, wire }) => {
        const socket = await openSocket(t, port);
        // The beginning of a ClientHello of 512 bytes (RFC 8446, section 4.1.2).
        const hello = Buffer.concat([
          Buffer.from([22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]),
          Buffer.alloc(500, 7),
        ]);
        socket.write(hello.subarray(0, bytes));
        await connectionsAre(wire, 1);
      },
    ));
}

test("TLS connections beyond the limit are closed", (t) =>
  attackWire(
    t,
    { refusals: ["connections"], limits: { maxConnections: 3 }, options, ca },
    async ({ port, wire }) => {
      const first = await openRawPeer(t, port, { ca });
      await first.roundTrip();
      const second = await openSocket(t, port);
      await connectionsAre(wire, 3);
      for (let extra = 0; extra < 10; extra++) await (await openRawPeer(t, port, { ca })).end();
      second.destroy();
      first.destroy();
      await connectionsAre(wire, 1);
    },
  ));

/** The same by the file of a socket; the witness comes by TCP. */
test("a unix socket is guarded as TCP is", async (t) => {
  const path = join(await temporaryFolder(t), "attacked.sock");
  const { wire, port } = await startWire(t, async () => ({ status: 200, body: text("ok") }), {
    unix: { path },
  });
  const attacker = connectSocket(path);
  attacker.on("error", () => {});
  t.teardown(() => attacker.destroy());
  const received = readAll(attacker);
  attacker.write(
    Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", "latin1"),
      ...Array.from({ length: 10_000 }, () => pingFrame()),
    ]),
  );
  await received;
  t.is(wire.stats.refusals["control-frames"], 1);
  await stillServes(t, port);
});

async function stillServes(t: ExecutionContext<unknown>, port: number): Promise<void> {
  const session = openHttp2(t, port);
  const stream = session.request({ ":path": "/" });
  const parts = (await stream.toArray()) as Buffer[];
  t.is(Buffer.concat(parts).toString(), "ok");
}
