import { once } from "node:events";
import type { UniversalServerRequest, UniversalServerResponse } from "@connectrpc/connect/protocol";
import test from "ava";
import fc from "fast-check";
import {
  codeOf,
  nameOfCode,
  pingFrame,
  type RawFrame,
  rawCode,
  rawFlag,
  rawSetting,
  rawType,
  settingsAck,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer, type RawHttp2Peer } from "../../support/raw-http2-peer.ts";
import { until } from "../../support/until.ts";
import { callWell } from "../attacks/attacked-wire.ts";
import { bodyOf, openHttp2, startWire, text } from "../start-wire.ts";
import { fastMethods } from "./fast-methods.ts";
import { type FrameSequence, frameSequence } from "./frame-sequences.ts";
import { fuzz } from "./fuzz-budget.ts";
import { legalSequence } from "./legal-sequences.ts";

/** A handler of every kind: quick, reading, large, streaming both ways, and never ending. */
async function answer(request: UniversalServerRequest): Promise<UniversalServerResponse> {
  switch (new URL(request.url).pathname) {
    case "/echo":
      return { status: 200, body: text((await bodyOf(request)).toString("latin1")) };
    case "/body":
      return { status: 200, body: request.body as AsyncIterable<Uint8Array> };
    case "/large":
      return {
        status: 200,
        body: text("x".repeat(300_000)),
        trailer: new Headers({ "x-end": "1" }),
      };
    case "/hang":
      if (!request.signal.aborted) await once(request.signal, "abort");
      return { status: 200 };
    default:
      return { status: 200, body: text("ok") };
  }
}

const isGoAway = ({ type }: RawFrame): boolean => type === rawType.goAway;
const lastWords = Buffer.from("lastword");
const isLastAnswer = ({ type, flags, payload }: RawFrame): boolean =>
  type === rawType.ping && (flags & rawFlag.ack) !== 0 && payload.equals(lastWords);

/** What a connection may end with by what a peer wrote. */
const allowedCodes = new Set<number>([
  rawCode.NO_ERROR,
  rawCode.PROTOCOL_ERROR,
  rawCode.FLOW_CONTROL_ERROR,
  rawCode.STREAM_CLOSED,
  rawCode.FRAME_SIZE_ERROR,
  rawCode.COMPRESSION_ERROR,
  rawCode.ENHANCE_YOUR_CALM,
]);

/** Frames of length 0 on stream 0, which end every connection; more than any frame can swallow. */
const ending = Buffer.alloc(300_000);

async function play(
  peer: RawHttp2Peer,
  { pieces, isWhole, goesAway }: FrameSequence,
): Promise<void> {
  await write(peer, pieces);
  peer.write(pingFrame(lastWords));
  if (isWhole && !goesAway) {
    const end = await peer.next(
      (frame) => isLastAnswer(frame) || isGoAway(frame),
      "PING or GOAWAY",
    );
    if (isGoAway(end)) checkCode(end);
  }
  if (!peer.isClosed) peer.write(ending);
  await peer.end();
}

function checkCode(goAway: RawFrame): void {
  const code = codeOf(goAway);
  if (!allowedCodes.has(code)) throw new Error(`GOAWAY with ${nameOfCode(code)}`);
}

test.serial("random frames harm nobody else", async (t) => {
  const { wire, port, errors } = await startWire(t, answer, {
    limits: { maxConcurrentStreams: 4, maxHeaderListBytes: 8192 },
    fast: fastMethods,
  });
  const witness = openHttp2(t, port);
  let connections = 0;
  const runs = await fuzz(
    t,
    0.4,
    fc.tuple(frameSequence, fc.boolean()),
    async ([sequence, wide]) => {
      await withPeer(
        port,
        // Half of them take everything at once, half of them next to nothing.
        [rawSetting.initialWindowSize, wide ? 2 ** 30 : 9],
        (peer) => play(peer, sequence),
      );
      await until(
        () => wire.stats.openStreams === 0 && wire.stats.openConnections <= 2,
        () => `${wire.stats.openStreams} streams on ${wire.stats.openConnections} connections`,
      );
      if (++connections % 20 === 0) await callWell(t, witness, "beside the fuzzer");
      const fault = errors.find(({ error }) => /a fault of ours/.test(error.message));
      if (fault) throw fault.error;
      errors.length = 0;
    },
  );
  t.log(`${runs} connections; refusals: ${refusalsOf(wire.stats.refusals)}`);
  t.true(runs > 20, "the budget is too short to say anything");
  await callWell(t, witness, "after the fuzzer");
});

test.serial("whatever a client does by the rules, the connection goes on", async (t) => {
  const { wire, port } = await startWire(t, answer, {
    limits: { maxConcurrentStreams: 20 },
    fast: fastMethods,
  });
  const runs = await fuzz(t, 0.2, legalSequence, async (pieces) => {
    await withPeer(port, [rawSetting.initialWindowSize, 65_535], async (peer) => {
      await write(peer, pieces);
      await peer.roundTrip();
      if (peer.count(rawType.goAway) > 0)
        throw new Error("GOAWAY, though the client kept to the rules");
    });
    await until(
      () => wire.stats.openStreams === 0,
      () => `${wire.stats.openStreams} streams are open`,
    );
  });
  t.log(`${runs} connections; refusals: ${refusalsOf(wire.stats.refusals)}`);
  t.true(runs > 20, "the budget is too short to say anything");
  t.is(wire.stats.refusals.protocol, 0);
});

async function withPeer(
  port: number,
  setting: readonly [number, number],
  action: (peer: RawHttp2Peer) => Promise<void>,
): Promise<void> {
  const atEnd: (() => unknown)[] = [];
  const peer = await openRawPeer({ teardown: (last) => void atEnd.push(last) }, port, {
    settings: [setting],
    // An answer of its own would get into the middle of a frame.
    acknowledges: false,
    answersPing: false,
  });
  try {
    peer.write(settingsAck);
    await action(peer);
  } finally {
    for (const last of atEnd) last();
  }
}

/** Every other piece arrives by itself. */
async function write(peer: RawHttp2Peer, pieces: readonly Buffer[]): Promise<void> {
  for (const [index, piece] of pieces.entries()) {
    peer.write(piece);
    if (index % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
}

function refusalsOf(counts: Readonly<Record<string, number>>): string {
  return Object.entries(counts)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`)
    .join(", ");
}
