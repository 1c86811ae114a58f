import test from "ava";
import { requestBlock } from "../../support/raw-hpack.ts";
import {
  dataFrame,
  headersFrame,
  priorityFrame,
  rawFlag,
  resetFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { attackWire } from "./attacked-wire.ts";

const hang = requestBlock("/hang");
const quick = requestBlock("/quick");
const many = 10_000;
const idOf = (turn: number): number => 2 * turn + 1;
const openBlock = (turn: number): Buffer => headersFrame(idOf(turn), hang, rawFlag.endHeaders);

test("streams opened to be reset end the connection (CVE-2023-44487)", (t) =>
  attackWire(t, { refusals: ["stream-resets"] }, async ({ port, begun }) => {
    const peer = await openRawPeer(t, port);
    await peer.flood(many, (turn) =>
      Buffer.concat([headersFrame(idOf(turn), hang), resetFrame(idOf(turn))]),
    );
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
    t.true((begun.get("/hang") ?? 0) < many, "not every request may reach the handler");
  }));

test("so they do when the answers have begun", (t) =>
  attackWire(t, { refusals: ["stream-resets"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    await peer.flood(many, (turn) =>
      Buffer.concat([
        headersFrame(idOf(turn), requestBlock("/large")),
        ...(turn >= 8 ? [resetFrame(idOf(turn - 8))] : []),
      ]),
    );
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
    await peer.end();
  }));

/** Ways to make a server reset a stream that it has begun to work on (CVE-2025-8671). */
const provocations: Readonly<Record<string, (turn: number) => Buffer>> = {
  "WINDOW_UPDATE of 0": (turn) =>
    Buffer.concat([openBlock(turn), windowUpdateFrame(idOf(turn), 0)]),
  "a window beyond 2^31-1": (turn) =>
    Buffer.concat([openBlock(turn), windowUpdateFrame(idOf(turn), 2 ** 31 - 1)]),
  "DATA after END_STREAM": (turn) =>
    Buffer.concat([headersFrame(idOf(turn), hang), dataFrame(idOf(turn), Buffer.from("x"))]),
  "HEADERS after END_STREAM": (turn) =>
    Buffer.concat([headersFrame(idOf(turn), hang), headersFrame(idOf(turn), hang)]),
  "trailers that do not end the stream": (turn) =>
    Buffer.concat([openBlock(turn), headersFrame(idOf(turn), hang, rawFlag.endHeaders)]),
  "PRIORITY on itself": (turn) =>
    Buffer.concat([openBlock(turn), priorityFrame(idOf(turn), idOf(turn))]),
  "more content than its content-length": (turn) =>
    Buffer.concat([
      headersFrame(idOf(turn), requestBlock("/hang", ["content-length", "1"]), rawFlag.endHeaders),
      dataFrame(idOf(turn), Buffer.from("xyz")),
    ]),
  "a head that is malformed": (turn) =>
    headersFrame(idOf(turn), requestBlock("/hang", ["Upper", "1"])),
};

for (const [name, make] of Object.entries(provocations)) {
  test(`streams that the peer makes us reset end the connection: ${name}`, (t) =>
    attackWire(
      t,
      { refusals: ["stream-resets"], also: ["protocol", "flow-control"] },
      async ({ port }) => {
        const peer = await openRawPeer(t, port);
        await peer.flood(many, make);
        t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
        await peer.end();
      },
    ));
}

test("streams beyond the limit again and again end the connection", (t) =>
  attackWire(
    t,
    { refusals: ["streams", "stream-resets"], limits: { maxConcurrentStreams: 10 } },
    async ({ port, begun }) => {
      const peer = await openRawPeer(t, port);
      await peer.flood(many, (turn) => headersFrame(idOf(turn), hang));
      t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
      await peer.end();
      t.is(begun.get("/hang"), 10, "no request beyond the limit reaches the handler");
    },
  ));

test("resets as many as the streams at once are no attack", (t) =>
  attackWire(t, { refusals: [], limits: { maxConcurrentStreams: 200 } }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    for (let turn = 0; turn < 200; turn++) peer.write(headersFrame(idOf(turn), hang));
    for (let turn = 0; turn < 200; turn++) peer.write(resetFrame(idOf(turn)));
    await peer.roundTrip();
    peer.write(headersFrame(idOf(200), quick));
    t.true(await peer.ended(idOf(200)));
  }));
