import test from "ava";
import { requestBlock } from "../../support/raw-hpack.ts";
import {
  dataFrame,
  headersFrame,
  pingFrame,
  priorityFrame,
  rawFlag,
  rawFrame,
  rawSetting,
  rawType,
  resetFrame,
  settingsAck,
  settingsFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { attackWire, connectionsAre } from "./attacked-wire.ts";
import { heldBytes } from "./held-bytes.ts";

const many = 100_000;
const hang = requestBlock("/hang");

/** Frames that cost work and carry none. */
const floods: Readonly<Record<string, (turn: number) => Buffer>> = {
  PING: () => pingFrame(),
  "answers to PING that nobody asked for": () => pingFrame(Buffer.alloc(8), rawFlag.ack),
  SETTINGS: () => settingsFrame(),
  "SETTINGS that move the windows": (turn) =>
    settingsFrame([rawSetting.initialWindowSize, turn % 2 === 0 ? 0 : 100_000]),
  "SETTINGS with 100 values": () =>
    settingsFrame(...Array.from({ length: 100 }, () => [0xf000, 1] as const)),
  "SETTINGS that change the table": (turn) =>
    settingsFrame([rawSetting.headerTableSize, turn % 4096]),
  "acknowledgements of SETTINGS": () => settingsAck,
  "PRIORITY of streams that are idle": (turn) => priorityFrame(2 * turn + 1001),
  "PRIORITY of a stream": () => priorityFrame(1),
  "WINDOW_UPDATE of a stream": () => windowUpdateFrame(1, 1),
  "WINDOW_UPDATE of the connection": () => windowUpdateFrame(0, 1),
  "frames of unknown type": (turn) =>
    rawFrame(0x20 + (turn % 100), 0xff, turn % 3, Buffer.alloc(8)),
  "frames of unknown type without payload": () => rawFrame(0xbe, 0, 0),
};

for (const [name, make] of Object.entries(floods)) {
  test(`a flood ends the connection: ${name}`, (t) =>
    attackWire(t, { refusals: ["control-frames"] }, async ({ port }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, hang, rawFlag.endHeaders));
      await peer.flood(many, make);
      t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
      await peer.end();
    }));
}

for (const name of ["PING", "SETTINGS"]) {
  // Alone, for it looks at the memory of the process.
  test.serial(`a flood of ${name} whose answers are not read ends the connection`, (t) =>
    attackWire(t, { refusals: ["control-frames"] }, async ({ port, wire }) => {
      const before = await heldBytes();
      const peer = await openRawPeer(t, port);
      await peer.roundTrip();
      peer.stopReading();
      await peer.flood(many, floods[name]!);
      // The witness is left.
      await connectionsAre(wire, 1);
      const grown = (await heldBytes()) - before;
      t.true(grown < 16 * 1024 * 1024, `the memory grew by ${grown} bytes`);
    }),
  );
}

test("RST_STREAM for streams that have ended, again and again, ends the connection", (t) =>
  attackWire(t, { refusals: [], also: ["control-frames", "stream-resets"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, requestBlock("/quick")));
    t.true(await peer.ended(1));
    await peer.flood(many, () => resetFrame(1));
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

test("WINDOW_UPDATE for streams that have ended, again and again, ends the connection", (t) =>
  attackWire(t, { refusals: ["control-frames"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, requestBlock("/quick")));
    t.true(await peer.ended(1));
    await peer.flood(many, () => windowUpdateFrame(1, 1));
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

/** DATA that carries nothing. */
const emptyData: Readonly<Record<string, Buffer>> = {
  "without a payload": dataFrame(1),
  "of padding alone": dataFrame(
    1,
    Buffer.concat([Buffer.from([7]), Buffer.alloc(7)]),
    rawFlag.padded,
  ),
};

for (const [name, frame] of Object.entries(emptyData)) {
  test(`a flood of DATA ${name} ends the connection`, (t) =>
    attackWire(t, { refusals: ["empty-frames"] }, async ({ port }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, hang, rawFlag.endHeaders));
      await peer.flood(many, () => frame);
      t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
      await peer.end();
    }));
}

test("a flood of empty DATA on a stream that has ended ends the connection", (t) =>
  attackWire(
    t,
    { refusals: [], also: ["empty-frames", "stream-resets", "protocol"] },
    async ({ port }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, requestBlock("/quick")));
      t.true(await peer.ended(1));
      await peer.flood(many, () => dataFrame(1));
      t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
      await peer.end();
    },
  ));

test("a busy client's PING, SETTINGS and WINDOW_UPDATE are no flood", (t) =>
  attackWire(t, { refusals: [] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    for (let turn = 0; turn < 500; turn++) {
      const id = 2 * turn + 1;
      peer.write(
        headersFrame(id, requestBlock("/echo"), rawFlag.endHeaders),
        windowUpdateFrame(0, 100),
        windowUpdateFrame(id, 100),
        pingFrame(),
        dataFrame(id, Buffer.alloc(100), rawFlag.endStream),
      );
      if (turn % 20 === 0) peer.write(settingsFrame());
      t.true(await peer.ended(id));
    }
    t.is(peer.count(rawType.goAway), 0);
  }));
