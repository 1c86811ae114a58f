import test from "ava";
import { hpackLiteral, requestBlock } from "../../support/raw-hpack.ts";
import {
  continuationFrame,
  dataFrame,
  headersFrame,
  rawFlag,
  rawFrame,
  rawPreface,
  rawSetting,
  rawType,
  settingsFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { until } from "../../support/until.ts";
import { attackWire, connectionsAre, largeBytes } from "./attacked-wire.ts";

const large = requestBlock("/large");
const hang = requestBlock("/hang");
const endHeaders = rawFlag.endHeaders;
const stall = { limits: { stallTimeoutMs: 300 } };
/** Writes what the test says only: an acknowledgement in the middle would be another mistake. */
const silent = { begins: false, acknowledges: false };
const handshake = { limits: { handshakeTimeoutMs: 1_000 } };

test("an answer whose stream has no window is given up", (t) =>
  attackWire(t, { refusals: ["slow-read"], ...stall }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { settings: [[rawSetting.initialWindowSize, 0]] });
    peer.write(headersFrame(1, large));
    t.is(await peer.reset(1), "CANCEL");
    t.is(peer.count(rawType.data), 0);
    await peer.roundTrip();
  }));

test("an answer whose stream has a window of one byte is given up", (t) =>
  attackWire(t, { refusals: ["slow-read"], ...stall }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { settings: [[rawSetting.initialWindowSize, 1]] });
    peer.write(headersFrame(1, large));
    t.is(await peer.reset(1), "CANCEL");
    t.is(peer.count(rawType.data), 1);
  }));

test("an answer that is taken byte by byte is given up", (t) =>
  attackWire(t, { refusals: ["slow-read"], ...stall }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { settings: [[rawSetting.initialWindowSize, 0]] });
    peer.write(headersFrame(1, large));
    let isOver = false;
    const reset = peer.reset(1).finally(() => {
      isOver = true;
    });
    while (!isOver) {
      peer.write(windowUpdateFrame(1, 1));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    t.is(await reset, "CANCEL");
    t.true(peer.count(rawType.data) > 1, "bytes were taken all the time");
    t.true(peer.count(rawType.data) < 1024);
  }));

test("answers whose connection has no window are given up, all of them", (t) =>
  attackWire(t, { refusals: ["slow-read"], ...stall }, async ({ port, wire }) => {
    const peer = await openRawPeer(t, port, {
      settings: [[rawSetting.initialWindowSize, 2 ** 30]],
    });
    for (let id = 1; id < 100; id += 2) peer.write(headersFrame(id, large));
    for (let id = 1; id < 100; id += 2) t.is(await peer.reset(id), "CANCEL");
    t.is(wire.stats.refusals["slow-read"], 50);
  }));

test("an answer whose window was open and stays shut is given up", (t) =>
  attackWire(t, { refusals: ["slow-read"], ...stall }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(
      headersFrame(1, large),
      windowUpdateFrame(1, 100_000),
      windowUpdateFrame(0, 100_000),
    );
    t.is(await peer.reset(1), "CANCEL");
    t.true(peer.count(rawType.data) > 1);
  }));

test("settings that take the window back stop an answer, and it is given up", (t) =>
  attackWire(t, { refusals: ["slow-read"], ...stall }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { settings: [[rawSetting.initialWindowSize, 1000]] });
    peer.write(headersFrame(1, large));
    await peer.next(({ type }) => type === rawType.data, "DATA");
    // The window is 1000 less than nothing now.
    peer.write(settingsFrame([rawSetting.initialWindowSize, 0]), windowUpdateFrame(1, 999));
    t.is(await peer.reset(1), "CANCEL");
    t.is(peer.count(rawType.data), 1);
  }));

test("a socket that is not read is closed", (t) =>
  attackWire(t, { refusals: ["slow-read"], ...stall }, async ({ port, wire }) => {
    const peer = await openRawPeer(t, port, {
      settings: [[rawSetting.initialWindowSize, 2 ** 31 - 1]],
    });
    peer.write(windowUpdateFrame(0, 2 ** 31 - 1 - 65_535));
    await peer.roundTrip();
    peer.stopReading();
    for (let id = 1; id < 20; id += 2) peer.write(headersFrame(id, large));
    await connectionsAre(wire, 1);
  }));

test("an answer that is taken slowly goes on", (t) =>
  attackWire(t, { refusals: [], ...stall }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { settings: [[rawSetting.initialWindowSize, 0]] });
    peer.write(headersFrame(1, large), windowUpdateFrame(0, largeBytes));
    for (let sent = 0; sent < largeBytes; sent += largeBytes / 16) {
      peer.write(windowUpdateFrame(1, largeBytes / 16));
      await new Promise((resolve) => setTimeout(resolve, 60));
    }
    t.true(await peer.ended(1));
  }));

test("a silent socket is closed", (t) =>
  attackWire(t, { refusals: ["handshake-timeout"], ...handshake }, async ({ port }) => {
    const peer = await openRawPeer(t, port, silent);
    await peer.end();
  }));

for (const bytes of [1, 3, 10, rawPreface.byteLength - 1, rawPreface.byteLength]) {
  test(`a preface that stops after ${bytes} bytes closes the connection`, (t) =>
    attackWire(t, { refusals: ["handshake-timeout"], ...handshake }, async ({ port }) => {
      const peer = await openRawPeer(t, port, silent);
      peer.write(rawPreface.subarray(0, bytes));
      await peer.end();
    }));
}

test("a preface of one byte at a time closes the connection in the end", (t) =>
  attackWire(t, { refusals: ["handshake-timeout"], ...handshake }, async ({ port }) => {
    const peer = await openRawPeer(t, port, silent);
    for (const byte of rawPreface.subarray(0, 20)) {
      peer.write(Buffer.from([byte]));
      await new Promise((resolve) => setTimeout(resolve, 30));
    }
    await peer.end();
  }));

test("settings that are never acknowledged close the connection", (t) =>
  attackWire(t, { refusals: ["handshake-timeout"], ...handshake }, async ({ port }) => {
    const peer = await openRawPeer(t, port, { acknowledges: false });
    t.is(await peer.goAway(), "SETTINGS_TIMEOUT");
    await peer.end();
  }));

test("a header block that does not go on closes the connection", (t) =>
  attackWire(t, { refusals: ["header-timeout"], ...handshake }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    await peer.roundTrip();
    peer.write(headersFrame(1, hang, rawFlag.endStream));
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

test("a header block that goes on a byte at a time closes the connection", (t) =>
  attackWire(t, { refusals: ["header-timeout"], ...handshake }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    await peer.roundTrip();
    peer.write(headersFrame(1, hang, rawFlag.endStream));
    const field = hpackLiteral("x", "y");
    while (!peer.isClosed && peer.count(rawType.goAway) === 0) {
      peer.write(continuationFrame(1, field));
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

test("a HEADERS frame whose payload does not go on closes the connection", (t) =>
  attackWire(t, { refusals: ["header-timeout"], ...handshake }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    await peer.roundTrip();
    peer.write(headersFrame(1, hang).subarray(0, 20));
    await peer.end();
  }));

test("a HEADERS frame whose payload comes a byte at a time closes the connection", (t) =>
  attackWire(
    t,
    { refusals: ["header-timeout"], limits: { handshakeTimeoutMs: 300, idleTimeoutMs: 300 } },
    async ({ port }) => {
      const peer = await openRawPeer(t, port);
      await peer.roundTrip();
      peer.write(headersFrame(1, hang, endHeaders));
      peer.write(rawFrame(rawType.headers, endHeaders, 3, Buffer.from([0]), 16_000));
      const begun = performance.now();
      // Ten times the limit: a server that never closes lets the test fail, not hang.
      while (!peer.isClosed && performance.now() - begun < 3_000) {
        peer.write(Buffer.from([0x01]));
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
      t.true(peer.isClosed);
      peer.destroy();
    },
  ));

test("a connection without a stream is closed after its idle time", (t) =>
  attackWire(t, { refusals: [], limits: { idleTimeoutMs: 300 } }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    t.is(await peer.goAway(), "NO_ERROR");
    await peer.end();
  }));

test("a peer that does not answer PING is closed, and its calls end", (t) =>
  attackWire(
    t,
    { refusals: ["keepalive"], limits: { keepAliveIntervalMs: 200, keepAliveTimeoutMs: 200 } },
    async ({ port, hanging }) => {
      const peer = await openRawPeer(t, port, { answersPing: false });
      peer.write(headersFrame(1, hang));
      await peer.next(({ type }) => type === rawType.ping, "PING");
      t.is(hanging(), 1);
      await peer.end();
    },
  ));

test("a peer that answers PING stays", (t) =>
  attackWire(
    t,
    { refusals: [], limits: { keepAliveIntervalMs: 100, keepAliveTimeoutMs: 100 } },
    async ({ port, hanging }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, hang));
      for (let asked = 0; asked < 5; asked++) {
        await peer.next(({ type }) => type === rawType.ping, "PING");
      }
      t.is(hanging(), 1);
      peer.destroy();
    },
  ));

test("a socket that vanishes in the middle of a frame leaves nothing", (t) =>
  attackWire(t, { refusals: [] }, async ({ port, wire, hanging }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, hang, endHeaders));
    peer.write(dataFrame(1, Buffer.alloc(1000)).subarray(0, 500));
    await until(
      () => hanging() === 1,
      () => "the request is not in the handler",
    );
    peer.destroy();
    await connectionsAre(wire, 1);
  }));
