import test from "ava";
import { requestBlock } from "../../support/raw-hpack.ts";
import { headersFrame, resetFrame } from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { attackWire } from "../attacks/attacked-wire.ts";
import { answersOn } from "./answers-on.ts";

test("a stream that is cancelled and was never opened, as gRPC's C core does, ends nothing else", (t) =>
  attackWire(t, { refusals: [] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, requestBlock("/quick")));
    t.true(await peer.ended(1));
    peer.write(resetFrame(3), resetFrame(5));
    await answersOn(t, peer, 7);
  }));

test("many of them are a flood of resets", (t) =>
  attackWire(t, { refusals: ["stream-resets"] }, async ({ port }) => {
    const peer = await openRawPeer(t, port);
    peer.write(headersFrame(1, requestBlock("/quick")));
    t.true(await peer.ended(1));
    await peer.flood(20_000, (turn) => resetFrame(3 + 2 * turn));
    t.is(await peer.goAway(), "ENHANCE_YOUR_CALM");
  }));
