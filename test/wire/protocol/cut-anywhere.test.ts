import test from "ava";
import { hpackLiteral, requestBlock } from "../../support/raw-hpack.ts";
import {
  continuationFrame,
  dataFrame,
  headersFrame,
  priorityFrame,
  rawFlag,
  rawFrame,
  rawSetting,
  rawType,
  settingsFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { attackWire } from "../attacks/attacked-wire.ts";

const { endHeaders, endStream, padded } = rawFlag;
const block = requestBlock("/echo");

/** Two requests with frames of every type that a client sends; their content is "one two". */
const sequence = Buffer.concat([
  headersFrame(1, block.subarray(0, 20), 0),
  continuationFrame(1, block.subarray(20), endHeaders),
  settingsFrame([rawSetting.headerTableSize, 100]),
  dataFrame(1, Buffer.from("one")),
  windowUpdateFrame(0, 1),
  headersFrame(3, block, endHeaders),
  priorityFrame(3, 1),
  dataFrame(3, Buffer.from("one two"), endStream),
  rawFrame(0x66, 0xff, 3, Buffer.from("unknown")),
  dataFrame(1, Buffer.concat([Buffer.from([3]), Buffer.from(" two"), Buffer.alloc(3)]), padded),
  headersFrame(1, hpackLiteral("x-end", "1")),
]);

test("frames may be cut in two at any place", (t) =>
  attackWire(t, { refusals: [] }, async ({ port }) => {
    for (let cut = 1; cut < sequence.byteLength; cut++) {
      const peer = await openRawPeer(t, port);
      // So that no acknowledgement of this peer gets between the parts.
      await peer.roundTrip();
      peer.write(sequence.subarray(0, cut));
      // The first part arrives by itself in most cases; all of them matter, and none can be forced.
      for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
      peer.write(sequence.subarray(cut));
      for (const id of [1, 3]) {
        const body: Buffer[] = [];
        for (let ended = false; !ended; ) {
          const frame = await peer.next(
            ({ streamId, type }) => streamId === id && type !== rawType.windowUpdate,
          );
          if (frame.type === rawType.data) body.push(frame.payload);
          if (frame.type === rawType.rstStream) break;
          ended = (frame.flags & endStream) !== 0;
        }
        t.is(Buffer.concat(body).toString(), "one two", `stream ${id}, cut after ${cut} bytes`);
      }
      peer.destroy();
    }
  }));
