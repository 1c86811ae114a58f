import { requestBlock } from "../../support/raw-hpack.ts";
import { headersFrame } from "../../support/raw-http2-frames.ts";
import type { RawHttp2Peer } from "../../support/raw-http2-peer.ts";

/** The connection still takes requests. */
export async function answersOn(
  t: { true(value: boolean, message?: string): boolean },
  peer: RawHttp2Peer,
  streamId: number,
): Promise<void> {
  peer.write(headersFrame(streamId, requestBlock("/quick")));
  t.true(await peer.ended(streamId), "the connection goes on");
}
