import test from "ava";
import { hpackBlock, hpackLiteral, requestBlock, requestFields } from "../../support/raw-hpack.ts";
import {
  dataFrame,
  headersFrame,
  rawFlag,
  rawFrame,
  rawType,
  resetFrame,
  uint32,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { attackWire } from "../attacks/attacked-wire.ts";
import { answersOn } from "./answers-on.ts";

const { endHeaders, endStream, priority } = rawFlag;
const hang = requestBlock("/hang");
const open = headersFrame(1, hang, endHeaders);

/** What ends a stream and leaves the connection. */
const ofStream: readonly (readonly [name: string, code: string, bytes: Buffer])[] = [
  [
    "5.1 DATA on a stream whose peer has ended it",
    "STREAM_CLOSED",
    Buffer.concat([headersFrame(1, hang), dataFrame(1, Buffer.from("x"))]),
  ],
  [
    "5.3 HEADERS that depend on themselves",
    "PROTOCOL_ERROR",
    headersFrame(1, Buffer.concat([uint32(1), Buffer.from([0]), hang]), endHeaders | priority),
  ],
  [
    "6.3 PRIORITY of 4 bytes",
    "FRAME_SIZE_ERROR",
    Buffer.concat([open, rawFrame(rawType.priority, 0, 1, Buffer.alloc(4))]),
  ],
  ["6.9 WINDOW_UPDATE of 0", "PROTOCOL_ERROR", Buffer.concat([open, windowUpdateFrame(1, 0)])],
  [
    "8.1 trailers without END_STREAM",
    "PROTOCOL_ERROR",
    Buffer.concat([open, headersFrame(1, hpackLiteral("a", "b"), endHeaders)]),
  ],
  [
    "8.1 pseudo-header fields in trailers",
    "PROTOCOL_ERROR",
    Buffer.concat([open, headersFrame(1, hpackLiteral(":path", "/"))]),
  ],
  [
    "8.1.1 less content than content-length",
    "PROTOCOL_ERROR",
    Buffer.concat([
      headersFrame(1, requestBlock("/hang", ["content-length", "9"]), endHeaders),
      dataFrame(1, Buffer.from("x"), endStream),
    ]),
  ],
  [
    "8.1.1 more content than content-length",
    "PROTOCOL_ERROR",
    Buffer.concat([
      headersFrame(1, requestBlock("/hang", ["content-length", "1"]), endHeaders),
      dataFrame(1, Buffer.from("xyz")),
    ]),
  ],
  [
    "8.1.1 content-length without content",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["content-length", "1"])),
  ],
  [
    "8.2.1 a name in upper case",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["X-Upper", "1"])),
  ],
  ["8.2.1 an empty name", "PROTOCOL_ERROR", headersFrame(1, requestBlock("/hang", ["", "1"]))],
  [
    "8.2.1 a name with a space",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["x y", "1"])),
  ],
  [
    "8.2.1 a name with a colon",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["x:y", "1"])),
  ],
  [
    "8.2.1 a value with a line feed",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["x", "a\nb: c"])),
  ],
  [
    "8.2.1 a value with NUL",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["x", "a\0"])),
  ],
  [
    "8.2.1 a value that begins with a space",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["x", " a"])),
  ],
  [
    "8.2.2 connection",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["connection", "close"])),
  ],
  [
    "8.2.2 transfer-encoding",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["transfer-encoding", "chunked"])),
  ],
  [
    "8.2.2 te other than trailers",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", ["te", "gzip"])),
  ],
  [
    "8.3 a pseudo-header field of a response",
    "PROTOCOL_ERROR",
    headersFrame(1, requestBlock("/hang", [":status", "200"])),
  ],
  [
    "8.3 an unknown pseudo-header field",
    "PROTOCOL_ERROR",
    headersFrame(1, hpackBlock([[":other", "1"], ...requestFields("/hang")])),
  ],
  [
    "8.3 a pseudo-header field after another field",
    "PROTOCOL_ERROR",
    headersFrame(1, hpackBlock([["x", "1"], ...requestFields("/hang")])),
  ],
  [
    "8.3.1 no :method",
    "PROTOCOL_ERROR",
    headersFrame(1, hpackBlock(requestFields("/hang").slice(1))),
  ],
  [
    "8.3.1 no :scheme",
    "PROTOCOL_ERROR",
    headersFrame(1, hpackBlock(requestFields("/hang").filter(([name]) => name !== ":scheme"))),
  ],
  [
    "8.3.1 no :path",
    "PROTOCOL_ERROR",
    headersFrame(1, hpackBlock(requestFields("/hang").slice(0, 3))),
  ],
  ["8.3.1 an empty :path", "PROTOCOL_ERROR", headersFrame(1, requestBlock(""))],
  [
    "8.3.1 :method twice",
    "PROTOCOL_ERROR",
    headersFrame(1, hpackBlock([[":method", "GET"], ...requestFields("/hang")])),
  ],
  [
    "8.3.1 :path twice",
    "PROTOCOL_ERROR",
    headersFrame(1, hpackBlock([[":path", "/"], ...requestFields("/hang")])),
  ],
  ["8 no field at all", "PROTOCOL_ERROR", headersFrame(1, Buffer.alloc(0))],
];

for (const [name, code, bytes] of ofStream) {
  test(`stream error: ${name}`, (t) =>
    attackWire(t, { refusals: ["protocol"] }, async ({ port }) => {
      const peer = await openRawPeer(t, port);
      await peer.roundTrip();
      peer.write(bytes);
      t.is(await peer.reset(1), code);
      await answersOn(t, peer, 3);
    }));
}

test("frames that come after a reset of ours are ignored", (t) =>
  attackWire(t, { refusals: ["protocol"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(open, windowUpdateFrame(1, 0));
    t.is(await peer.reset(1), "PROTOCOL_ERROR");
    peer.write(
      dataFrame(1, Buffer.from("late")),
      windowUpdateFrame(1, 5),
      headersFrame(1, hpackLiteral("x-late", "1")),
      resetFrame(1),
    );
    await answersOn(t, peer, 3);
    t.is(peer.count(rawType.goAway), 0);
  }));

test("frames that come after a reset of the peer's own end the connection or the stream", (t) =>
  attackWire(t, { refusals: [], also: ["protocol"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(open, resetFrame(1), headersFrame(1, hpackLiteral("x-late", "1")));
    t.is(await peer.goAway(), "STREAM_CLOSED");
    await peer.end();
  }));

test("a client that says GOAWAY still gets its answers, and then the connection ends", (t) =>
  attackWire(t, { refusals: [] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(
      headersFrame(1, requestBlock("/echo"), endHeaders),
      rawFrame(rawType.goAway, 0, 0, Buffer.alloc(8)),
      dataFrame(1, Buffer.from("x"), endStream),
    );
    t.true(await peer.ended(1));
    await peer.end();
  }));
