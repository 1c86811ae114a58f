import { readFile } from "node:fs/promises";
import test from "ava";
import { requestBlock } from "../../support/raw-hpack.ts";
import {
  codeOf,
  dataFrame,
  headersFrame,
  pingFrame,
  rawCode,
  rawFlag,
  rawFrame,
  rawSetting,
  rawType,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { until } from "../../support/until.ts";
import { attackWire } from "../attacks/attacked-wire.ts";
import { startWire, text } from "../start-wire.ts";

const certificates = new URL("../../clients/typescript/certificates/", import.meta.url);
const pem = (name: string): Promise<Buffer> => readFile(new URL(name, certificates));
const [cert, key, ca] = await Promise.all([pem("server.pem"), pem("server.key"), pem("ca.pem")]);

const goAway = rawFrame(rawType.goAway, 0, 0, Buffer.alloc(8));
const breach = rawFrame(rawType.ping, 0, 1, Buffer.alloc(8));

test("GOAWAY reaches a peer that was slow to read", (t) =>
  attackWire(t, { refusals: ["protocol"] }, async ({ port, wire, begun }) => {
    const peer = await openRawPeer(t, port, {
      settings: [[rawSetting.initialWindowSize, 2 ** 31 - 1]],
    });
    peer.write(windowUpdateFrame(0, 2 ** 31 - 1 - 65_535));
    await peer.roundTrip();
    peer.stopReading();
    // 40 MiB: more than the kernel's buffers take, so a write of the server waits.
    for (let id = 1; id < 20; id += 2) peer.write(headersFrame(id, requestBlock("/large")));
    await until(
      () => begun.get("/large") === 10,
      () => "the requests have not come",
    );
    // Turns of the event loop in which the answers are written, until the socket takes no more.
    for (let turn = 0; turn < 100; turn++) await new Promise((resolve) => setImmediate(resolve));
    peer.write(breach);
    await until(
      () => wire.stats.refusals.protocol === 1,
      () => "the breach is not counted",
    );
    peer.readOn();
    t.is(await peer.goAway(), "PROTOCOL_ERROR");
    await peer.end();
  }));

for (const [name, tls] of [
  ["cleartext", false],
  ["TLS", true],
] as const) {
  const options = tls ? { tls: { cert, key } } : {};
  const secure = tls ? { ca } : {};

  test(`GOAWAY reaches a peer whose first bytes are a breach, ${name}`, (t) =>
    attackWire(t, { refusals: ["protocol"], options, ...secure }, async ({ port }) => {
      for (let turn = 0; turn < 20; turn++) {
        const peer = await openRawPeer(t, port, { ...secure });
        peer.write(pingFrame());
        peer.write(breach);
        t.is(await peer.goAway(), "PROTOCOL_ERROR");
        await peer.end();
      }
    }));

  test(`a client that says GOAWAY at once gets its answers, ${name}`, (t) =>
    attackWire(t, { refusals: [], options, ...secure }, async ({ port }) => {
      for (let turn = 0; turn < 20; turn++) {
        const peer = await openRawPeer(t, port, { ...secure });
        peer.write(
          pingFrame(),
          headersFrame(1, requestBlock("/quick")),
          headersFrame(3, requestBlock("/echo"), rawFlag.endHeaders),
          dataFrame(3, Buffer.alloc(10_000, 1), rawFlag.endStream),
          goAway,
        );
        t.true(await peer.ended(1));
        t.true(await peer.ended(3));
        await peer.end();
      }
    }));

  test(`answers under way when the server drains arrive whole, ${name}`, async (t) => {
    const turns = Array.from({ length: 10 }, (_, turn) => turn);
    for (const turn of turns) {
      const release = Promise.withResolvers<void>();
      const { wire, port } = await startWire(
        t,
        async () => {
          await release.promise;
          return { status: 200, body: text("x".repeat(20_000 * (turn % 4))) };
        },
        options,
      );
      const peer = await openRawPeer(t, port, { ...secure });
      peer.write(windowUpdateFrame(0, 1_000_000));
      for (const id of [1, 3, 5]) peer.write(headersFrame(id, requestBlock("/late")));
      await peer.roundTrip();
      const drained = wire.drain();
      const first = await peer.next(({ type }) => type === rawType.goAway, "GOAWAY");
      t.is(codeOf(first), rawCode.NO_ERROR);
      release.resolve();
      for (const id of [1, 3, 5]) t.true(await peer.ended(id));
      await peer.end();
      await drained;
      t.is(wire.stats.openStreams, 0);
    }
  });

  test(`the last GOAWAY of a drain names the last stream, ${name}`, async (t) => {
    const { wire, port } = await startWire(t, async () => ({ status: 200 }), options);
    const peer = await openRawPeer(t, port, { ...secure });
    peer.write(headersFrame(7, requestBlock("/")));
    t.true(await peer.ended(7));
    const drained = wire.drain();
    const isGoAway = ({ type }: { readonly type: number }): boolean => type === rawType.goAway;
    t.is((await peer.next(isGoAway, "GOAWAY")).payload.readUInt32BE(0), 2 ** 31 - 1);
    t.is((await peer.next(isGoAway, "the second GOAWAY")).payload.readUInt32BE(0), 7);
    await peer.end();
    await drained;
  });
}

test("an answer that a slow peer still reads when the server drains arrives whole", async (t) => {
  const bytes = 8 * 1024 * 1024;
  const { wire, port } = await startWire(t, async () => ({
    status: 200,
    body: text("x".repeat(bytes)),
  }));
  const peer = await openRawPeer(t, port, {
    settings: [[rawSetting.initialWindowSize, 2 ** 31 - 1]],
  });
  peer.write(windowUpdateFrame(0, 2 ** 31 - 1 - 65_535));
  await peer.roundTrip();
  peer.write(headersFrame(1, requestBlock("/")));
  await peer.next(({ type }) => type === rawType.data, "DATA");
  const drained = wire.drain();
  // About 4 MiB a second, in bursts.
  let reading = true;
  const rhythm = setInterval(() => {
    reading = !reading;
    if (reading) peer.readOn();
    else peer.stopReading();
  }, 40);
  t.teardown(() => clearInterval(rhythm));
  t.true(await peer.ended(1));
  clearInterval(rhythm);
  peer.readOn();
  await peer.end();
  await drained;
});
