import test from "ava";
import {
  hpackHuffman,
  hpackIndex,
  hpackIndexedLiteral,
  hpackInteger,
  hpackLiteral,
  hpackTableSize,
  requestBlock,
} from "../../support/raw-hpack.ts";
import {
  continuationFrame,
  headersFrame,
  rawFlag,
  rawSetting,
  rawType,
  resetFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { openHttp2, request2 } from "../start-wire.ts";
import { attackWire } from "./attacked-wire.ts";
import { heldBytes } from "./held-bytes.ts";

const mebibyte = 1024 * 1024;
const endStream = rawFlag.endStream;
const endHeaders = rawFlag.endHeaders;

/** What may follow a HEADERS frame without END_HEADERS, for ever (CVE-2024-27316). */
const endless: Readonly<Record<string, () => Buffer>> = {
  "CONTINUATION frames that are full": () =>
    continuationFrame(1, hpackLiteral("x-filler", "f".repeat(16_000))),
  "CONTINUATION frames of one small field": () => continuationFrame(1, hpackLiteral("x", "y")),
  "CONTINUATION frames of one byte of a long string": () => continuationFrame(1, Buffer.from("f")),
};

for (const [name, make] of Object.entries(endless)) {
  test(`a header block without end ends the connection: ${name}`, (t) =>
    attackWire(t, { refusals: ["header-block-size"] }, async ({ port, begun }) => {
      const peer = await openRawPeer(t, port);
      const longString = Buffer.concat([
        Buffer.from([0, 1]),
        Buffer.from("x"),
        hpackInteger(0, 7, 1_000_000),
      ]);
      const start = name.includes("long string") ? longString : Buffer.alloc(0);
      peer.write(headersFrame(1, Buffer.concat([requestBlock("/endless"), start]), endStream));
      await peer.flood(100_000, make);
      t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
      await peer.end();
      t.is(begun.get("/endless"), undefined);
    }));
}

test("a header block of empty CONTINUATION frames ends the connection", (t) =>
  attackWire(
    t,
    { refusals: [], also: ["header-block-size", "empty-frames"] },
    async ({ port, wire }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, requestBlock("/endless"), endStream));
      await peer.flood(100_000, () => continuationFrame(1));
      t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
      await peer.end();
      const { refusals } = wire.stats;
      t.is(refusals["header-block-size"] + refusals["empty-frames"], 1);
    },
  ));

test("header blocks that begin with an empty fragment, again and again, end the connection", (t) =>
  attackWire(t, { refusals: ["empty-frames"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    const block = requestBlock("/quick");
    await peer.flood(5_000, (turn) =>
      Buffer.concat([
        headersFrame(2 * turn + 1, Buffer.alloc(0), endStream),
        continuationFrame(2 * turn + 1, block, endHeaders),
      ]),
    );
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

// Alone, for it looks at the memory of the process.
test.serial(
  "one large field that is referred to thousands of times is answered with 431 and held once",
  (t) =>
    attackWire(t, { refusals: ["header-list-size"] }, async ({ port, begun }) => {
      const peer = await openRawPeer(t, port);
      peer.write(
        headersFrame(
          1,
          Buffer.concat([requestBlock("/first"), hpackIndexedLiteral("x", "b".repeat(3_900))]),
        ),
      );
      t.true(await peer.ended(1));
      const before = await heldBytes();
      // Each is 16 KiB on the wire and 62 MiB as a list.
      const bomb = Buffer.concat([requestBlock("/bomb"), Buffer.alloc(16_000, hpackIndex(62))]);
      for (let turn = 1; turn <= 100; turn++) peer.write(headersFrame(2 * turn + 1, bomb));
      for (let turn = 1; turn <= 100; turn++) t.true(await peer.ended(2 * turn + 1));
      const grown = (await heldBytes()) - before;
      t.true(grown < 16 * mebibyte, `the memory grew by ${grown} bytes`);
      t.is(begun.get("/bomb"), undefined);
      peer.write(headersFrame(203, requestBlock("/after")));
      t.true(await peer.ended(203), "the connection goes on");
      t.is(begun.get("/after"), 1);
    }),
);

test.serial("fields that enter the table again and again do not make it grow", (t) =>
  attackWire(t, { refusals: [] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    const before = await heldBytes();
    for (let turn = 0; turn < 1_000; turn++) {
      const fields = Array.from({ length: 3 }, (_, index) =>
        hpackIndexedLiteral(`x-${turn}-${index}`, "v".repeat(3_000)),
      );
      peer.write(headersFrame(2 * turn + 1, Buffer.concat([requestBlock("/quick"), ...fields])));
      if (turn % 50 === 49) await peer.ended(2 * turn + 1);
    }
    const grown = (await heldBytes()) - before;
    t.true(grown < 8 * mebibyte, `the memory grew by ${grown} bytes`);
  }),
);

test("a header list over the limit is answered with 431, and the connection goes on", (t) =>
  attackWire(
    t,
    { refusals: ["header-list-size"], limits: { maxHeaderListBytes: 4096 } },
    async ({ port, begun }) => {
      const client = openHttp2(t, port);
      const headers = (count: number): Record<string, string> =>
        Object.fromEntries(
          Array.from({ length: count }, (_, index) => [`x-${index}`, "v".repeat(100)]),
        );
      const large = await request2(client, { ":path": "/large-head", ...headers(40) });
      t.is(large.status, 431);
      const small = await request2(client, { ":path": "/small-head", ...headers(20) });
      t.is(small.status, 200);
      t.is(begun.get("/large-head"), undefined);
      client.close();
    },
  ));

test("the limit counts 32 bytes a field, as RFC 9113 does, and is announced", (t) =>
  attackWire(
    t,
    { refusals: ["header-list-size"], limits: { maxHeaderListBytes: 4096 } },
    async ({ port, begun }) => {
      const peer = await openRawPeer(t, port);
      const settings = await peer.next(({ type }) => type === rawType.settings, "SETTINGS");
      const announced = new Map<number, number>();
      for (let at = 0; at < settings.payload.byteLength; at += 6) {
        announced.set(settings.payload.readUInt16BE(at), settings.payload.readUInt32BE(at + 2));
      }
      t.is(announced.get(rawSetting.maxHeaderListSize), 4096);
      // 130 fields of two characters: 260 bytes of text, 4 420 as a list.
      const many = Array.from({ length: 130 }, () => ["x", "y"] as const);
      peer.write(headersFrame(1, requestBlock("/many", ...many)));
      t.true(await peer.ended(1));
      t.is(begun.get("/many"), undefined);
    },
  ));

test("a header list over the limit in trailers ends its stream only", (t) =>
  attackWire(t, { refusals: ["header-list-size"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, requestBlock("/hang"), endHeaders));
    const trailers = Array.from({ length: 3 }, (_, index) =>
      hpackLiteral(`x-${index}`, "v".repeat(12_000)),
    );
    peer.write(
      headersFrame(1, trailers[0]!, endStream),
      continuationFrame(1, trailers[1]!),
      continuationFrame(1, trailers[2]!, endHeaders),
    );
    t.is(await peer.reset(1), "ENHANCE_YOUR_CALM");
    peer.write(headersFrame(3, requestBlock("/quick")));
    t.true(await peer.ended(3));
  }));

/** Blocks that are no HPACK (RFC 7541). */
const broken: Readonly<Record<string, Buffer>> = {
  "a table larger than allowed": hpackTableSize(4097),
  "a table of 2^28 bytes": hpackTableSize(2 ** 28),
  "a table size after a field": Buffer.concat([hpackIndex(3), hpackTableSize(100)]),
  "index 0": hpackIndex(0),
  "an index beyond the static table": hpackIndex(62),
  "an index far beyond": hpackIndex(1_000_000),
  "a literal with a name beyond the tables": Buffer.concat([
    hpackInteger(0, 4, 70),
    Buffer.from([1, 0x61]),
  ]),
  "an integer that is cut off": Buffer.from([0xff]),
  "an integer that is cut off later": Buffer.from([0xff, 0x80, 0x80]),
  "an integer of more than 32 bits": Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x0f]),
  "an integer of 100 bytes": Buffer.concat([
    Buffer.from([0xff]),
    Buffer.alloc(100, 0x80),
    Buffer.from([1]),
  ]),
  "a string longer than the block": Buffer.concat([Buffer.from([0, 1, 0x78, 0x7f, 0])]),
  "a string of 2^31 bytes": Buffer.concat([Buffer.from([0, 1, 0x78]), hpackInteger(0, 7, 2 ** 31)]),
  "a literal without a value": Buffer.from([0, 1, 0x78]),
  "a literal without a name": Buffer.from([0]),
  // "a" is 00011 (RFC 7541, appendix B): padded with zeros instead of ones.
  "Huffman padding of zeros": Buffer.concat([
    Buffer.from([0, 1, 0x78]),
    hpackHuffman(Buffer.from([0b0001_1000])),
  ]),
  "Huffman padding of more than 7 bits": Buffer.concat([
    Buffer.from([0, 1, 0x78]),
    hpackHuffman(Buffer.from([0b0001_1111, 0xff])),
  ]),
  "nothing but Huffman padding": Buffer.concat([
    Buffer.from([0, 1, 0x78]),
    hpackHuffman(Buffer.from([0xff])),
  ]),
  "EOS in a string": Buffer.concat([
    Buffer.from([0, 1, 0x78]),
    hpackHuffman(Buffer.from([0xff, 0xff, 0xff, 0xff])),
  ]),
};

for (const [name, bytes] of Object.entries(broken)) {
  test(`a block that is not HPACK ends the connection: ${name}`, (t) =>
    attackWire(t, { refusals: ["compression"] }, async ({ port, begun }) => {
      const peer = await openRawPeer(t, port);
      const first = name.startsWith("a table of") || name.startsWith("a table larger");
      const block = first
        ? Buffer.concat([bytes, requestBlock("/broken")])
        : Buffer.concat([requestBlock("/broken"), bytes]);
      peer.write(headersFrame(1, block));
      t.is(await peer.goAway(), "COMPRESSION_ERROR");
      await peer.end();
      t.is(begun.get("/broken"), undefined);
    }));
}

test("header blocks of streams that are refused still change the table", (t) =>
  attackWire(
    t,
    { refusals: ["streams"], limits: { maxConcurrentStreams: 1 } },
    async ({ port, begun }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, requestBlock("/hang"), endHeaders));
      const path = Buffer.concat([
        Buffer.from([0x44]),
        hpackInteger(0, 7, 6),
        Buffer.from("/table"),
      ]);
      const rest = Buffer.concat([hpackIndex(3), hpackIndex(6)]);
      peer.write(headersFrame(3, Buffer.concat([rest, path])));
      t.is(await peer.reset(3), "REFUSED_STREAM");
      peer.write(resetFrame(1));
      peer.write(headersFrame(5, Buffer.concat([rest, hpackIndex(62)])));
      t.true(await peer.ended(5));
      t.is(begun.get("/table"), 1);
    },
  ));
