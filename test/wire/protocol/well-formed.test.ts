import test from "ava";
import {
  hpackBlock,
  hpackLiteral,
  hpackTableSize,
  requestBlock,
  requestFields,
} from "../../support/raw-hpack.ts";
import {
  continuationFrame,
  dataFrame,
  headersFrame,
  priorityFrame,
  rawFlag,
  rawFrame,
  rawPreface,
  rawSetting,
  rawType,
  settingsAck,
  settingsFrame,
  uint32,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { attackWire } from "../attacks/attacked-wire.ts";
import { answersOn } from "./answers-on.ts";

const { endHeaders, endStream, padded, priority } = rawFlag;
const quick = requestBlock("/quick");

/** What must be taken, although it looks odd. */
const wellFormed: Readonly<Record<string, Buffer>> = {
  "4.1 unknown flags": rawFrame(
    rawType.headers,
    endHeaders | endStream | (0xd2 & ~padded & ~priority),
    1,
    quick,
  ),
  "4.1 the reserved bit of the stream id": rawFrame(
    rawType.headers,
    endHeaders | endStream,
    0x8000_0001,
    quick,
  ),
  "4.1 an unknown frame of any length": Buffer.concat([
    rawFrame(0xee, 0xff, 7, Buffer.alloc(16_384)),
    headersFrame(1, quick),
  ]),
  "5.1 PRIORITY on an idle stream": Buffer.concat([priorityFrame(9), headersFrame(1, quick)]),
  "5.1.1 stream ids with gaps": headersFrame(1, quick),
  "6.2 padding and priority": headersFrame(
    1,
    Buffer.concat([Buffer.from([4]), uint32(0), Buffer.from([9]), quick, Buffer.alloc(4)]),
    endHeaders | endStream | padded | priority,
  ),
  "6.2 an exclusive dependency": headersFrame(
    1,
    Buffer.concat([uint32(0x8000_0000), Buffer.from([9]), quick]),
    endHeaders | endStream | priority,
  ),
  "6.5.2 unknown settings": Buffer.concat([
    settingsFrame([0xffff, 1], [0xaaaa, 2 ** 32 - 1]),
    headersFrame(1, quick),
  ]),
  "6.5.3 the same setting twice": Buffer.concat([
    settingsFrame([rawSetting.initialWindowSize, 0], [rawSetting.initialWindowSize, 65_535]),
    headersFrame(1, quick),
  ]),
  "6.5 a header table of 0 bytes": Buffer.concat([
    settingsFrame([rawSetting.headerTableSize, 0]),
    headersFrame(1, quick),
  ]),
  "6.9 the reserved bit of WINDOW_UPDATE": Buffer.concat([
    rawFrame(rawType.windowUpdate, 0, 0, uint32(0x8000_0001)),
    headersFrame(1, quick),
  ]),
  "6.10 a block in three fragments": Buffer.concat([
    headersFrame(1, quick.subarray(0, 5), endStream),
    continuationFrame(1, quick.subarray(5, 9)),
    continuationFrame(1, quick.subarray(9), endHeaders),
  ]),
  "7541-4.2 two changes of the table's size": headersFrame(
    1,
    Buffer.concat([hpackTableSize(0), hpackTableSize(4096), quick]),
  ),
  "8.1 trailers": Buffer.concat([
    headersFrame(1, requestBlock("/echo"), endHeaders),
    dataFrame(1, Buffer.from("x")),
    headersFrame(1, hpackLiteral("x-end", "1")),
  ]),
  "8.1 empty trailers": Buffer.concat([
    headersFrame(1, requestBlock("/echo"), endHeaders),
    headersFrame(1, Buffer.alloc(0)),
  ]),
  "8.1 an empty DATA frame at the end": Buffer.concat([
    headersFrame(1, requestBlock("/echo"), endHeaders),
    dataFrame(1, Buffer.from("x")),
    dataFrame(1, Buffer.alloc(0), endStream),
  ]),
  "8.2.1 an empty value": headersFrame(1, requestBlock("/quick", ["x", ""])),
  "8.2.1 bytes above 127 in a value": headersFrame(1, requestBlock("/quick", ["x", "\xff\x80"])),
  "8.2.2 te: trailers": headersFrame(1, requestBlock("/quick", ["te", "trailers"])),
  "8.2.3 cookie in crumbs": headersFrame(
    1,
    requestBlock("/quick", ["cookie", "a=1"], ["cookie", "b=2"]),
  ),
  "8.3.1 host without :authority": headersFrame(
    1,
    hpackBlock([
      ...requestFields("/quick").filter(([name]) => name !== ":authority"),
      ["host", "h"],
    ]),
  ),
  "8.5 CONNECT": headersFrame(
    1,
    hpackBlock([
      [":method", "CONNECT"],
      [":authority", "h:1"],
    ]),
  ),
};

for (const [name, bytes] of Object.entries(wellFormed)) {
  test(`no error: ${name}`, (t) =>
    attackWire(t, { refusals: [] }, async ({ port }) => {
      const peer = await openRawPeer(t, port);
      await peer.roundTrip();
      peer.write(bytes);
      t.true(await peer.ended(1));
      await answersOn(t, peer, 3);
    }));
  test(`no error, byte by byte: ${name}`, (t) =>
    attackWire(t, { refusals: [] }, async ({ port }) => {
      const peer = await openRawPeer(t, port, { acknowledges: false, begins: false });
      for (const byte of Buffer.concat([rawPreface, settingsFrame(), settingsAck])) {
        peer.write(Buffer.from([byte]));
      }
      // Long frames are cut at their ends only: a million writes would say no more.
      const near = 40;
      for (const byte of bytes.subarray(0, near)) {
        peer.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      peer.write(bytes.subarray(near, -near));
      for (const byte of bytes.subarray(Math.max(near, bytes.byteLength - near))) {
        peer.write(Buffer.from([byte]));
        await new Promise((resolve) => setImmediate(resolve));
      }
      t.true(await peer.ended(1));
      await answersOn(t, peer, 3);
    }));
}
