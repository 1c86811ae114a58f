import fc, { type Arbitrary } from "fast-check";
import {
  hpackBlock,
  hpackIndex,
  hpackIndexedLiteral,
  hpackTableSize,
  requestBlock,
} from "../../support/raw-hpack.ts";
import {
  continuationFrame,
  dataFrame,
  headersFrame,
  pingFrame,
  priorityFrame,
  rawFlag,
  rawFrame,
  rawSetting,
  rawType,
  resetFrame,
  settingsFrame,
  uint32,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";

import { fastPaths } from "./fast-methods.ts";

const { endHeaders, endStream, padded, priority } = rawFlag;

/** Streams that sequences speak of: few, so that frames meet. */
const streamId = fc.oneof(
  { weight: 8, arbitrary: fc.constantFrom(1, 3, 5, 7, 9) },
  { weight: 1, arbitrary: fc.constantFrom(0, 2, 0x7fff_ffff, 0xffff_ffff, 101) },
);

const path = fc.constantFrom("/quick", "/echo", "/hang", "/large", "/body", "*", "relative");

/** Header block of a gRPC call. */
function grpcBlock(given: string, timeout: string): Buffer {
  return requestBlock(
    given,
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ["grpc-timeout", timeout],
  );
}

const block: Arbitrary<Buffer> = fc.oneof(
  { weight: 6, arbitrary: path.map((given) => requestBlock(given)) },
  {
    weight: 4,
    arbitrary: fc
      .tuple(fc.constantFrom(...fastPaths), fc.constantFrom("5S", "1m", "0n", "1u", "x"))
      .map(([given, timeout]) => grpcBlock(given, timeout)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(path, fc.array(fc.tuple(fc.string({ maxLength: 8 }), fc.string({ maxLength: 30 }))))
      .map(([given, fields]) => requestBlock(given, ...fields)),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(path, fc.nat(99))
      .map(([given, size]) => requestBlock(given, ["content-length", `${size}`])),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(path, fc.integer({ min: 1, max: 5000 }), fc.nat(80))
      .map(([given, size, index]) =>
        Buffer.concat([
          requestBlock(given),
          hpackIndexedLiteral("x-kept", "v".repeat(size)),
          hpackIndex(index),
        ]),
      ),
  },
  { weight: 1, arbitrary: fc.nat(5000).map(hpackTableSize) },
  { weight: 1, arbitrary: fc.constant(hpackBlock([["x-trailer", "1"]])) },
  { weight: 1, arbitrary: fc.uint8Array({ maxLength: 60 }).map((bytes) => Buffer.from(bytes)) },
);

/** Content of a gRPC call: the announced length is right, or not. */
const message = fc
  .tuple(
    fc.constantFrom(0, 0, 0, 1, 7),
    fc.nat(100),
    fc.oneof(fc.constant(0), fc.integer({ min: -3, max: 3 }), fc.constantFrom(1e5, 1e6, 4e9)),
  )
  .map(([flag, length, wrong]) =>
    Buffer.concat([
      Buffer.from([flag]),
      uint32(Math.max(0, length + wrong)),
      Buffer.alloc(length, 0x62),
    ]),
  );

const content = fc
  .oneof(fc.nat(40), fc.constantFrom(0, 1, 16_383, 16_384))
  .map((length) => Buffer.alloc(length, 0x61));

const uint31 = fc.oneof(fc.nat(100_000), fc.constantFrom(0, 1, 2 ** 31 - 1, 2 ** 32 - 1));

const setting = fc.tuple(
  fc.oneof(fc.constantFrom(...Object.values(rawSetting)), fc.nat(0xffff)),
  fc.oneof(uint31, fc.nat(70_000)),
);

/** A header block in several frames, or one with padding and priority. */
const splitHeaders = fc
  .tuple(streamId, block, fc.array(fc.nat(40), { maxLength: 4 }), fc.boolean())
  .map(([id, bytes, cuts, ends]) => {
    const frames: Buffer[] = [];
    let at = 0;
    const points = [...cuts.map((cut) => cut % (bytes.byteLength + 1)), bytes.byteLength].sort(
      (a, b) => a - b,
    );
    for (const [index, point] of points.entries()) {
      const part = bytes.subarray(at, point);
      const flags = index === points.length - 1 ? endHeaders : 0;
      frames.push(
        index === 0
          ? headersFrame(id, part, flags | (ends ? endStream : 0))
          : continuationFrame(id, part, flags),
      );
      at = point;
    }
    return Buffer.concat(frames);
  });

const adornedHeaders = fc
  .tuple(streamId, block, fc.nat(20), fc.nat(9), fc.nat(0xff))
  .map(([id, bytes, padding, parent, weight]) =>
    headersFrame(
      id,
      Buffer.concat([
        Buffer.from([padding]),
        uint32(parent),
        Buffer.from([weight]),
        bytes,
        Buffer.alloc(padding),
      ]),
      endHeaders | endStream | padded | priority,
    ),
  );

/** One frame, or a few that belong together, as a client may send them at some time. */
const step: Arbitrary<Buffer> = fc.oneof(
  {
    weight: 8,
    arbitrary: fc
      .tuple(streamId, block, fc.boolean())
      .map(([id, bytes, ends]) => headersFrame(id, bytes, endHeaders | (ends ? endStream : 0))),
  },
  { weight: 2, arbitrary: splitHeaders },
  { weight: 2, arbitrary: adornedHeaders },
  {
    weight: 6,
    arbitrary: fc
      .tuple(streamId, fc.oneof(content, message), fc.boolean())
      .map(([id, bytes, ends]) => dataFrame(id, bytes, ends ? endStream : 0)),
  },
  {
    weight: 1,
    arbitrary: fc
      .tuple(streamId, content, fc.nat(30))
      .map(([id, bytes, padding]) =>
        dataFrame(id, Buffer.concat([Buffer.from([padding]), bytes.subarray(0, 16_000)]), padded),
      ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(streamId, fc.nat(15)).map(([id, code]) => resetFrame(id, code)),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(streamId, uint31).map(([id, bytes]) => windowUpdateFrame(id, bytes)),
  },
  {
    weight: 2,
    arbitrary: fc.array(setting, { maxLength: 5 }).map((pairs) => settingsFrame(...pairs)),
  },
  { weight: 1, arbitrary: fc.constant(rawFrame(rawType.settings, rawFlag.ack, 0)) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(3), fc.constantFrom(0, rawFlag.ack))
      .map(([first, flags]) => pingFrame(Buffer.from([first, 0, 0, 0, 0, 0, 0, 0]), flags)),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(streamId, fc.nat(9)).map(([id, parent]) => priorityFrame(id, parent)),
  },
  { weight: 1, arbitrary: fc.constant(rawFrame(rawType.goAway, 0, 0, Buffer.alloc(8))) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(255), fc.nat(255), streamId, fc.uint8Array({ maxLength: 40 }))
      .map(([type, flags, id, payload]) => rawFrame(type, flags, id, payload)),
  },
);

/** A change of the bytes of a step that no client makes. */
type Mutation =
  | { readonly kind: "none" }
  | { readonly kind: "byte"; readonly at: number; readonly value: number }
  | { readonly kind: "cut"; readonly at: number }
  | { readonly kind: "insert"; readonly at: number; readonly bytes: Uint8Array };

const mutation: Arbitrary<Mutation> = fc.oneof(
  { weight: 12, arbitrary: fc.constant({ kind: "none" as const }) },
  {
    weight: 2,
    // The header of the frame more often than what follows.
    arbitrary: fc.record({
      kind: fc.constant("byte" as const),
      at: fc.oneof(fc.nat(8), fc.nat(2000)),
      value: fc.nat(255),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("cut" as const), at: fc.nat(2000) }) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("insert" as const),
      at: fc.nat(2000),
      bytes: fc.uint8Array({ minLength: 1, maxLength: 20 }),
    }),
  },
);

function mutate(bytes: Buffer, change: Mutation): Buffer {
  switch (change.kind) {
    case "none":
      return bytes;
    case "byte": {
      const changed = Buffer.from(bytes);
      changed[change.at % changed.byteLength] = change.value;
      return changed;
    }
    case "cut":
      return bytes.subarray(0, change.at % bytes.byteLength);
    case "insert": {
      const at = change.at % bytes.byteLength;
      return Buffer.concat([bytes.subarray(0, at), change.bytes, bytes.subarray(at)]);
    }
  }
}

/** What a peer writes, piece by piece: pieces end anywhere in frames. */
export interface FrameSequence {
  readonly pieces: readonly Buffer[];
  /** Whether every frame has the length that its header says. */
  readonly isWhole: boolean;
  /** Whether the peer says GOAWAY somewhere, after which a connection may close without a word. */
  readonly goesAway: boolean;
}

/** Sequences of frames, with mistakes or without. */
export const frameSequence: Arbitrary<FrameSequence> = fc
  .tuple(
    fc.array(fc.tuple(step, mutation), { minLength: 1, maxLength: 25 }),
    fc.array(fc.nat(40_000), { maxLength: 12 }),
    fc.boolean(),
  )
  .map(([steps, cuts, mutates]) => {
    const bytes = Buffer.concat(
      steps.map(([frame, change]) => (mutates ? mutate(frame, change) : frame)),
    );
    const points = [
      ...new Set([...cuts.filter((cut) => cut < bytes.byteLength), bytes.byteLength]),
    ];
    points.sort((a, b) => a - b);
    let at = 0;
    const pieces = points.map((point) => {
      const piece = bytes.subarray(at, point);
      at = point;
      return piece;
    });
    const isWhole = !mutates || steps.every(([, change]) => change.kind === "none");
    const goesAway = steps.some(([frame]) => frame[3] === rawType.goAway);
    return { pieces, isWhole, goesAway };
  });
