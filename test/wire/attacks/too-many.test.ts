import test from "ava";
import type { FastUnaryMethods } from "../../../server/wire/grpc/fast-unary.ts";
import type { OutgoingField } from "../../../server/wire/http2/hpack/hpack-encoder.ts";
import { requestBlock } from "../../support/raw-hpack.ts";
import {
  dataFrame,
  headersFrame,
  rawFlag,
  resetFrame,
  uint32,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { until } from "../../support/until.ts";
import { attackWire, connectionsAre } from "./attacked-wire.ts";
import { heldBytes } from "./held-bytes.ts";

const hang = requestBlock("/hang");
const mebibyte = 1024 * 1024;

test("streams beyond the limit are refused, and the others go on", (t) =>
  attackWire(
    t,
    { refusals: ["streams"], limits: { maxConcurrentStreams: 3 } },
    async ({ port, hanging }) => {
      const peer = await openRawPeer(t, port);
      for (const id of [1, 3, 5, 7]) peer.write(headersFrame(id, hang));
      t.is(await peer.reset(7), "REFUSED_STREAM");
      await peer.roundTrip();
      t.is(hanging(), 3);
      peer.write(resetFrame(1), headersFrame(9, requestBlock("/quick")));
      t.true(await peer.ended(9));
      peer.destroy();
    },
  ));

test("connections beyond the limit are closed at once, and one that ends makes room", (t) =>
  attackWire(
    t,
    { refusals: ["connections"], limits: { maxConnections: 3 } },
    async ({ port, wire }) => {
      // The witness has one.
      const first = await openRawPeer(t, port);
      await first.roundTrip();
      const second = await openRawPeer(t, port);
      await second.roundTrip();
      for (let extra = 0; extra < 20; extra++) await (await openRawPeer(t, port)).end();
      t.is(wire.stats.refusals.connections, 20);
      await first.roundTrip();
      second.destroy();
      await connectionsAre(wire, 2);
      const third = await openRawPeer(t, port);
      await third.roundTrip();
      first.destroy();
      third.destroy();
      await connectionsAre(wire, 1);
    },
  ));

const path = "/test.Service/Echo";
const grpc = requestBlock(path, ["content-type", "application/grpc"], ["te", "trailers"]);

/** A method that is answered from bytes to bytes; a status says why it failed. */
const methods: FastUnaryMethods = {
  methods: new Map([[path, (message: Buffer) => message]]),
  maxMessageBytes: 64 * mebibyte,
  maxTimeoutMs: 60_000,
  toStatus: (thrown): readonly OutgoingField[] => [
    ["grpc-status", "8"],
    ["grpc-message", String(thrown)],
  ],
};

/** The five bytes before a message. */
function prefix(bytes: number): Buffer {
  return Buffer.concat([Buffer.from([0]), uint32(bytes)]);
}

test.serial("uploads that are left incomplete are bounded on one connection", (t) =>
  attackWire(
    t,
    {
      refusals: ["memory"],
      limits: { maxConnectionBytes: 8 * mebibyte },
      options: { fast: methods },
    },
    async ({ port, wire }) => {
      const before = await heldBytes();
      const peer = await openRawPeer(t, port);
      const part = Buffer.alloc(10_000, 1);
      // 90 times 4 MiB are announced, and 10 kB of each are sent.
      for (let turn = 0; turn < 90; turn++) {
        const id = 2 * turn + 1;
        peer.write(headersFrame(id, grpc, rawFlag.endHeaders));
        peer.write(dataFrame(id, Buffer.concat([prefix(4 * mebibyte), part])));
      }
      await peer.roundTrip();
      t.is(wire.stats.refusals.memory, 88, "two fit");
      const grown = (await heldBytes()) - before;
      t.true(grown < 16 * mebibyte, `the memory grew by ${grown} bytes`);
      peer.write(resetFrame(1));
      peer.write(headersFrame(201, grpc, rawFlag.endHeaders));
      peer.write(dataFrame(201, Buffer.concat([prefix(4 * mebibyte), part])));
      await peer.roundTrip();
      t.is(wire.stats.refusals.memory, 88, "a reset makes room");
      peer.destroy();
    },
  ),
);

test("a unary upload that does not go on is given up", (t) =>
  attackWire(
    t,
    { refusals: ["slow-write"], limits: { stallTimeoutMs: 300 }, options: { fast: methods } },
    async ({ port }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, grpc, rawFlag.endHeaders));
      peer.write(dataFrame(1, Buffer.concat([prefix(100_000), Buffer.alloc(1000)])));
      t.false(await peer.ended(1), "the stream is reset");
      await peer.roundTrip();
    },
  ));

test("a unary upload that never begins is given up", (t) =>
  attackWire(
    t,
    { refusals: ["slow-write"], limits: { stallTimeoutMs: 300 }, options: { fast: methods } },
    async ({ port, wire }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, grpc, rawFlag.endHeaders));
      await peer.roundTrip();
      await until(
        () => wire.stats.openStreams <= 1,
        () => `${wire.stats.openStreams} streams are open`,
      );
      t.false(await peer.ended(1), "the stream is reset");
    },
  ));

test("a unary upload that is whole and never ends is given up", (t) =>
  attackWire(
    t,
    { refusals: ["slow-write"], limits: { stallTimeoutMs: 300 }, options: { fast: methods } },
    async ({ port }) => {
      const peer = await openRawPeer(t, port);
      peer.write(headersFrame(1, grpc, rawFlag.endHeaders));
      peer.write(dataFrame(1, Buffer.concat([prefix(4), Buffer.from("1234")])));
      t.false(await peer.ended(1), "the stream is reset");
    },
  ));

test("an announced message that is larger than allowed is refused before it comes", (t) =>
  attackWire(t, { refusals: [], options: { fast: methods } }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, grpc, rawFlag.endHeaders));
    peer.write(dataFrame(1, prefix(2 ** 32 - 1)));
    t.true(await peer.ended(1));
    peer.destroy();
  }));
