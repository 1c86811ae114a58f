import test from "ava";
import { hpackLiteral, requestBlock } from "../../support/raw-hpack.ts";
import {
  continuationFrame,
  dataFrame,
  headersFrame,
  pingFrame,
  priorityFrame,
  rawFlag,
  rawFrame,
  rawPreface,
  rawSetting,
  rawType,
  resetFrame,
  settingsAck,
  settingsFrame,
  uint32,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { attackWire } from "../attacks/attacked-wire.ts";

const { endHeaders, endStream, padded, ack } = rawFlag;
const quick = requestBlock("/quick");
const hang = requestBlock("/hang");
const open = headersFrame(1, hang, endHeaders);

/** What ends a connection, and the code that RFC 9113 gives; section in the name. */
const ofConnection: readonly (readonly [name: string, code: string, bytes: Buffer])[] = [
  [
    "4.2 a frame above the maximum size",
    "FRAME_SIZE_ERROR",
    rawFrame(rawType.data, 0, 1, Buffer.alloc(16_385)),
  ],
  [
    "4.2 the header of a frame of 16 MiB",
    "FRAME_SIZE_ERROR",
    rawFrame(rawType.data, 0, 1, Buffer.alloc(0), 0xffffff),
  ],
  ["5.1 DATA on an idle stream", "PROTOCOL_ERROR", dataFrame(1, Buffer.from("x"))],
  ["5.1 RST_STREAM on an idle stream", "PROTOCOL_ERROR", resetFrame(1)],
  [
    "5.1 RST_STREAM on an idle stream, with another code than CANCEL",
    "PROTOCOL_ERROR",
    Buffer.concat([open, resetFrame(3, 2)]),
  ],
  [
    "5.1 RST_STREAM on an idle stream that would be ours",
    "PROTOCOL_ERROR",
    Buffer.concat([open, resetFrame(2)]),
  ],
  ["5.1 WINDOW_UPDATE on an idle stream", "PROTOCOL_ERROR", windowUpdateFrame(1, 1)],
  ["5.1.1 HEADERS on an even stream", "PROTOCOL_ERROR", headersFrame(2, quick)],
  [
    "5.1.1 HEADERS on a stream below the last",
    "STREAM_CLOSED",
    Buffer.concat([headersFrame(5, quick), headersFrame(3, quick)]),
  ],
  ["6.1 DATA on stream 0", "PROTOCOL_ERROR", dataFrame(0, Buffer.from("x"))],
  [
    "6.1 DATA with more padding than payload",
    "PROTOCOL_ERROR",
    Buffer.concat([open, dataFrame(1, Buffer.from([9, 1, 2]), padded)]),
  ],
  ["6.2 HEADERS on stream 0", "PROTOCOL_ERROR", headersFrame(0, quick)],
  [
    "6.2 HEADERS with more padding than payload",
    "PROTOCOL_ERROR",
    headersFrame(
      1,
      Buffer.concat([Buffer.from([255]), quick.subarray(0, 10)]),
      endHeaders | padded,
    ),
  ],
  [
    "6.2 HEADERS, then a frame that is not CONTINUATION",
    "PROTOCOL_ERROR",
    Buffer.concat([headersFrame(1, quick, endStream), pingFrame()]),
  ],
  [
    "6.2 HEADERS, then an unknown frame",
    "PROTOCOL_ERROR",
    Buffer.concat([headersFrame(1, quick, endStream), rawFrame(0x77, 0, 1)]),
  ],
  [
    "6.2 HEADERS, then CONTINUATION of another stream",
    "PROTOCOL_ERROR",
    Buffer.concat([
      headersFrame(1, quick, endStream),
      continuationFrame(3, hpackLiteral("a", "b"), endHeaders),
    ]),
  ],
  ["6.3 PRIORITY on stream 0", "PROTOCOL_ERROR", priorityFrame(0, 1)],
  ["6.4 RST_STREAM on stream 0", "PROTOCOL_ERROR", resetFrame(0)],
  [
    "6.4 RST_STREAM of 3 bytes",
    "FRAME_SIZE_ERROR",
    Buffer.concat([open, rawFrame(rawType.rstStream, 0, 1, Buffer.alloc(3))]),
  ],
  ["6.5 SETTINGS on a stream", "PROTOCOL_ERROR", rawFrame(rawType.settings, 0, 1)],
  [
    "6.5 SETTINGS of 5 bytes",
    "FRAME_SIZE_ERROR",
    rawFrame(rawType.settings, 0, 0, Buffer.alloc(5)),
  ],
  [
    "6.5 SETTINGS with ACK and a payload",
    "FRAME_SIZE_ERROR",
    rawFrame(rawType.settings, ack, 0, Buffer.alloc(6)),
  ],
  ["6.5.2 SETTINGS_ENABLE_PUSH of 2", "PROTOCOL_ERROR", settingsFrame([rawSetting.enablePush, 2])],
  [
    "6.5.2 SETTINGS_MAX_FRAME_SIZE below 2^14",
    "PROTOCOL_ERROR",
    settingsFrame([rawSetting.maxFrameSize, 16_383]),
  ],
  [
    "6.5.2 SETTINGS_MAX_FRAME_SIZE above 2^24-1",
    "PROTOCOL_ERROR",
    settingsFrame([rawSetting.maxFrameSize, 2 ** 24]),
  ],
  [
    "6.6 PUSH_PROMISE of a client",
    "PROTOCOL_ERROR",
    rawFrame(rawType.pushPromise, endHeaders, 1, Buffer.concat([uint32(2), quick])),
  ],
  ["6.7 PING on a stream", "PROTOCOL_ERROR", rawFrame(rawType.ping, 0, 1, Buffer.alloc(8))],
  ["6.7 PING of 7 bytes", "FRAME_SIZE_ERROR", pingFrame(Buffer.alloc(7))],
  ["6.8 GOAWAY on a stream", "PROTOCOL_ERROR", rawFrame(rawType.goAway, 0, 1, Buffer.alloc(8))],
  ["6.8 GOAWAY of 7 bytes", "FRAME_SIZE_ERROR", rawFrame(rawType.goAway, 0, 0, Buffer.alloc(7))],
  [
    "6.9 WINDOW_UPDATE of 3 bytes",
    "FRAME_SIZE_ERROR",
    rawFrame(rawType.windowUpdate, 0, 0, Buffer.alloc(3)),
  ],
  ["6.9 WINDOW_UPDATE of 0 on the connection", "PROTOCOL_ERROR", windowUpdateFrame(0, 0)],
  ["6.10 CONTINUATION without HEADERS", "PROTOCOL_ERROR", continuationFrame(1, quick, endHeaders)],
  [
    "6.10 CONTINUATION after END_HEADERS",
    "PROTOCOL_ERROR",
    Buffer.concat([open, continuationFrame(1, quick, endHeaders)]),
  ],
];

for (const [name, code, bytes] of ofConnection) {
  test(`connection error: ${name}`, (t) =>
    attackWire(t, { refusals: ["protocol"] }, async ({ port }) => {
      const peer = await openRawPeer(t, port);
      await peer.roundTrip();
      peer.write(bytes);
      const given = await peer.goAway();
      // A frame of the wrong length may be either (sections 6.1 and 6.2 name PROTOCOL_ERROR).
      const allowed = name.includes("padding") ? [code, "FRAME_SIZE_ERROR"] : [code];
      t.true(allowed.includes(given), `${given}, expected ${allowed.join(" or ")}`);
      await peer.end();
    }));
}

const beginnings: Readonly<Record<string, Buffer>> = {
  "a preface that goes on otherwise": Buffer.from("PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n"),
  "PRI of HTTP/1.1": Buffer.from("PRI / HTTP/1.1\r\nhost: h\r\n\r\n"),
  "a first frame that is not SETTINGS": Buffer.concat([rawPreface, pingFrame()]),
  "a first SETTINGS that is an acknowledgement": Buffer.concat([rawPreface, settingsAck]),
  "a preface that comes twice": Buffer.concat([rawPreface, rawPreface]),
};

for (const [name, bytes] of Object.entries(beginnings)) {
  test(`a connection that begins wrongly is closed: ${name}`, (t) =>
    attackWire(t, { refusals: ["protocol"] }, async ({ port }) => {
      const peer = await openRawPeer(t, port, { begins: false, acknowledges: false });
      peer.write(bytes);
      await peer.end();
    }));
}
