import test from "ava";
import { requestBlock } from "../../support/raw-hpack.ts";
import {
  dataFrame,
  headersFrame,
  rawFlag,
  rawSetting,
  rawType,
  resetFrame,
  settingsFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer, type RawHttp2Peer } from "../../support/raw-http2-peer.ts";
import { attackWire } from "./attacked-wire.ts";
import { heldBytes } from "./held-bytes.ts";

const hang = requestBlock("/hang");
const full = Buffer.alloc(16_384, 7);
const largest = 2 ** 31 - 1;

/** Windows that a server announces: of each stream, and of the connection. */
async function windowsOf(peer: RawHttp2Peer): Promise<{ stream: number; connection: number }> {
  const settings = await peer.next(
    ({ type, payload }) => type === rawType.settings && payload.byteLength > 0,
    "SETTINGS",
  );
  let stream = 65_535;
  for (let at = 0; at < settings.payload.byteLength; at += 6) {
    if (settings.payload.readUInt16BE(at) === rawSetting.initialWindowSize) {
      stream = settings.payload.readUInt32BE(at + 2);
    }
  }
  const update = await peer.next(
    ({ type, streamId }) => type === rawType.windowUpdate && streamId === 0,
    "WINDOW_UPDATE of the connection",
  );
  return { stream, connection: 65_535 + update.payload.readUInt32BE(0) };
}

/** Writes DATA of so many bytes in all. */
function writeData(peer: RawHttp2Peer, streamId: number, bytes: number): void {
  for (let left = bytes; left > 0; left -= full.byteLength) {
    peer.write(dataFrame(streamId, full.subarray(0, Math.min(left, full.byteLength))));
  }
}

test("DATA beyond the window of its stream ends the stream", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port, hanging }) => {
    const peer = await openRawPeer(t, port);
    const { stream } = await windowsOf(peer);
    peer.write(headersFrame(1, hang, rawFlag.endHeaders));
    peer.write(headersFrame(3, requestBlock("/echo"), rawFlag.endHeaders));
    writeData(peer, 1, stream);
    await peer.roundTrip();
    t.is(hanging(), 1, "the whole window may be used");
    peer.write(dataFrame(1, Buffer.from("x")));
    t.is(await peer.reset(1), "FLOW_CONTROL_ERROR");
    peer.write(dataFrame(3, Buffer.from("x"), rawFlag.endStream));
    t.true(await peer.ended(3), "the other stream goes on");
  }));

test("padding counts as DATA does", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    const { stream } = await windowsOf(peer);
    peer.write(headersFrame(1, hang, rawFlag.endHeaders));
    writeData(peer, 1, stream - 10);
    const padded = Buffer.concat([Buffer.from([10]), Buffer.from("x"), Buffer.alloc(10)]);
    peer.write(dataFrame(1, padded, rawFlag.padded));
    t.is(await peer.reset(1), "FLOW_CONTROL_ERROR");
  }));

test("DATA beyond the window of the connection ends the connection", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    const { stream, connection } = await windowsOf(peer);
    const streams = Math.ceil(connection / stream) + 1;
    t.true(streams < 100, "the windows are such that this test can fill them");
    let left = connection;
    for (let turn = 0; turn < streams; turn++) {
      const id = 2 * turn + 1;
      peer.write(headersFrame(id, hang, rawFlag.endHeaders));
      const bytes = Math.min(left, stream);
      writeData(peer, id, bytes);
      left -= bytes;
      if (!peer.socket.writableNeedDrain) continue;
      await new Promise((resolve) => peer.socket.once("drain", resolve));
    }
    await peer.roundTrip();
    t.is(peer.count(rawType.goAway), 0, "the whole window may be used");
    peer.write(dataFrame(2 * streams - 1, Buffer.from("x")));
    t.is(await peer.goAway(), "FLOW_CONTROL_ERROR");
    await peer.end();
  }));

test.serial("bytes that no handler reads are bounded by the connection's window", (t) =>
  attackWire(
    t,
    { refusals: ["flow-control"], limits: { maxConcurrentStreams: 1000 } },
    async ({ port }) => {
      const peer = await openRawPeer(t, port);
      const { stream, connection } = await windowsOf(peer);
      const before = await heldBytes();
      for (let id = 1; id < 2000 && !peer.isClosed; id += 2) {
        peer.write(headersFrame(id, hang, rawFlag.endHeaders));
        writeData(peer, id, stream);
        if (peer.socket.writableNeedDrain) {
          await Promise.race([
            new Promise((resolve) => peer.socket.once("drain", resolve)),
            peer.closed,
          ]);
        }
      }
      t.is(await peer.goAway(), "FLOW_CONTROL_ERROR");
      const grown = (await heldBytes()) - before;
      t.true(grown < 2 * connection + 2 ** 23, `the memory grew by ${grown} bytes`);
      await peer.end();
    },
  ),
);

test("bytes of streams that were reset are given back to the connection", (t) =>
  attackWire(t, { refusals: [] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    const { stream, connection } = await windowsOf(peer);
    let allowed = connection;
    let id = 1;
    // Three times what the connection may hold, none of it read; this peer keeps to its windows.
    for (let sent = 0; sent < 3 * connection; sent += stream) {
      while (allowed < stream) {
        const update = await peer.next(
          ({ type, streamId }) => type === rawType.windowUpdate && streamId === 0,
          "WINDOW_UPDATE of the connection",
        );
        allowed += update.payload.readUInt32BE(0);
      }
      peer.write(headersFrame(id, hang, rawFlag.endHeaders));
      writeData(peer, id, stream);
      allowed -= stream;
      peer.write(resetFrame(id));
      id += 2;
    }
    peer.write(headersFrame(id, requestBlock("/quick")));
    t.true(await peer.ended(id));
  }));

test("bytes that come after a reset of ours are given back to the connection", (t) =>
  attackWire(t, { refusals: [], also: ["protocol", "stream-resets"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    const { connection } = await windowsOf(peer);
    const stream = 200_000;
    let allowed = connection;
    let id = 1;
    for (let sent = 0; sent < 3 * connection; sent += stream) {
      while (allowed < stream) {
        const update = await peer.next(
          ({ type, streamId }) => type === rawType.windowUpdate && streamId === 0,
          "WINDOW_UPDATE of the connection",
        );
        allowed += update.payload.readUInt32BE(0);
      }
      peer.write(headersFrame(id, hang, rawFlag.endHeaders), windowUpdateFrame(id, 0));
      writeData(peer, id, stream);
      allowed -= stream;
      t.is(await peer.reset(id), "PROTOCOL_ERROR");
      id += 2;
    }
    peer.write(headersFrame(id, requestBlock("/quick")));
    t.true(await peer.ended(id));
  }));

test("WINDOW_UPDATE beyond 2^31-1 on a stream ends the stream", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, hang), windowUpdateFrame(1, largest));
    t.is(await peer.reset(1), "FLOW_CONTROL_ERROR");
    await peer.roundTrip();
  }));

test("WINDOW_UPDATE beyond 2^31-1 in two steps ends the stream", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port, hanging }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, hang), windowUpdateFrame(1, largest - 65_535));
    await peer.roundTrip();
    t.is(hanging(), 1, "2^31-1 itself is allowed");
    peer.write(windowUpdateFrame(1, 1));
    t.is(await peer.reset(1), "FLOW_CONTROL_ERROR");
  }));

test("WINDOW_UPDATE beyond 2^31-1 on the connection ends the connection", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(windowUpdateFrame(0, largest));
    t.is(await peer.goAway(), "FLOW_CONTROL_ERROR");
    await peer.end();
  }));

test("SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1 ends the connection", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(settingsFrame([rawSetting.initialWindowSize, 2 ** 31]));
    t.is(await peer.goAway(), "FLOW_CONTROL_ERROR");
    await peer.end();
  }));

test("SETTINGS_INITIAL_WINDOW_SIZE that makes a window larger than 2^31-1 ends the connection", (t) =>
  attackWire(t, { refusals: ["flow-control"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, hang), windowUpdateFrame(1, largest - 65_535));
    peer.write(settingsFrame([rawSetting.initialWindowSize, 65_536]));
    t.is(await peer.goAway(), "FLOW_CONTROL_ERROR");
    await peer.end();
  }));
