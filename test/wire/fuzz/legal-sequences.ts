import fc, { type Arbitrary } from "fast-check";
import { hpackLiteral, hpackTableSize, requestBlock } from "../../support/raw-hpack.ts";
import {
  continuationFrame,
  dataFrame,
  headersFrame,
  pingFrame,
  priorityFrame,
  rawFlag,
  rawFrame,
  rawSetting,
  resetFrame,
  settingsFrame,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";

import { fastPaths } from "./fast-methods.ts";

const { endHeaders, endStream } = rawFlag;

/** What a client does next; `which` chooses among the streams that are open. */
type Action =
  | { readonly kind: "open"; readonly path: string; readonly ends: boolean; readonly parts: number }
  | {
      readonly kind: "data";
      readonly which: number;
      readonly bytes: number;
      readonly ends: boolean;
    }
  | { readonly kind: "trailers" | "reset" | "priority"; readonly which: number }
  | { readonly kind: "window"; readonly which: number; readonly bytes: number }
  | { readonly kind: "connection window"; readonly bytes: number }
  | { readonly kind: "settings"; readonly window: number; readonly table: number }
  | { readonly kind: "ping" | "unknown" };

const which = fc.nat(7);
const kind = <Name extends string>(name: Name): Arbitrary<Name> => fc.constant(name);

const action: Arbitrary<Action> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc.record({
      kind: kind("open"),
      path: fc.constantFrom("/quick", "/echo", "/hang", "/large", "/body", ...fastPaths),
      ends: fc.boolean(),
      parts: fc.integer({ min: 1, max: 4 }),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: kind("data"),
      which,
      // 5 and 6 are whole gRPC messages: of nothing, and of one byte.
      bytes: fc.oneof(fc.nat(100), fc.constantFrom(0, 1, 5, 6, 16_384)),
      ends: fc.boolean(),
    }),
  },
  { weight: 1, arbitrary: fc.record({ kind: kind("trailers"), which }) },
  { weight: 2, arbitrary: fc.record({ kind: kind("reset"), which }) },
  { weight: 1, arbitrary: fc.record({ kind: kind("priority"), which }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: kind("window"),
      which,
      bytes: fc.integer({ min: 1, max: 200_000 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind("connection window"),
      bytes: fc.integer({ min: 1, max: 200_000 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: kind("settings"),
      window: fc.oneof(fc.nat(3), fc.nat(100_000)),
      table: fc.oneof(fc.constant(0), fc.nat(8192)),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constantFrom("ping" as const, "unknown" as const) }),
  },
);

function blockFrames(id: number, block: Buffer, flags: number, parts: number): Buffer {
  if (parts === 1) return headersFrame(id, block, flags | endHeaders);
  const size = Math.ceil(block.byteLength / parts);
  return Buffer.concat(
    Array.from({ length: parts }, (_, index) => {
      const part = block.subarray(index * size, (index + 1) * size);
      const last = index === parts - 1 ? endHeaders : 0;
      return index === 0 ? headersFrame(id, part, flags | last) : continuationFrame(id, part, last);
    }),
  );
}

/** Zeros, and in the place of a gRPC message's length what fits: a whole message, if it comes first. */
function contentOf(bytes: number): Buffer {
  const content = Buffer.alloc(bytes);
  if (bytes >= 5) content.writeUInt32BE(bytes - 5, 1);
  return content;
}

/** The frames of actions, without those that a stream's state does not allow. */
function render(actions: readonly Action[]): Buffer {
  const frames: Buffer[] = [];
  /** Streams that this side may still send on, and those that it has ended. */
  let open: number[] = [];
  const ended: number[] = [];
  let next = 1;
  const leave = (id: number): void => {
    open = open.filter((other) => other !== id);
  };
  const end = (id: number): void => {
    leave(id);
    ended.push(id);
  };
  for (const step of actions) {
    switch (step.kind) {
      case "open":
        frames.push(
          blockFrames(
            next,
            Buffer.concat([
              hpackTableSize((next * 97) % 4096),
              requestBlock(step.path, ["content-type", "application/grpc"]),
            ]),
            step.ends ? endStream : 0,
            step.parts,
          ),
        );
        (step.ends ? ended : open).push(next);
        next += 2;
        break;
      case "data": {
        const id = open[step.which % open.length];
        if (id === undefined) break;
        frames.push(dataFrame(id, contentOf(step.bytes), step.ends ? endStream : 0));
        if (step.ends) end(id);
        break;
      }
      case "trailers": {
        const id = open[step.which % open.length];
        if (id === undefined) break;
        frames.push(headersFrame(id, hpackLiteral("x-end", "1")));
        end(id);
        break;
      }
      case "reset":
      case "window": {
        const known = [...open, ...ended];
        const id = known[step.which % known.length];
        if (id === undefined) break;
        if (step.kind === "window") frames.push(windowUpdateFrame(id, step.bytes));
        else {
          frames.push(resetFrame(id));
          leave(id);
          const index = ended.indexOf(id);
          if (index !== -1) ended.splice(index, 1);
        }
        break;
      }
      case "priority":
        frames.push(priorityFrame(2 * step.which + 1, 0));
        break;
      case "connection window":
        frames.push(windowUpdateFrame(0, step.bytes));
        break;
      case "settings":
        frames.push(
          settingsFrame(
            [rawSetting.initialWindowSize, step.window],
            [rawSetting.headerTableSize, step.table],
          ),
        );
        break;
      case "ping":
        frames.push(pingFrame());
        break;
      case "unknown":
        frames.push(rawFrame(0x99, 0xff, 3, Buffer.alloc(20)));
        break;
    }
  }
  return Buffer.concat(frames);
}

/**
 * What a client writes that breaks no rule, piece by piece: every stream goes through its states as it
 * may, and pieces end anywhere in frames.
 */
export const legalSequence: Arbitrary<readonly Buffer[]> = fc
  .tuple(
    fc.array(action, { minLength: 1, maxLength: 60 }),
    fc.array(fc.nat(60_000), { maxLength: 15 }),
  )
  .map(([actions, cuts]) => {
    const bytes = render(actions);
    const points = [...cuts.filter((cut) => cut < bytes.byteLength), bytes.byteLength];
    points.sort((a, b) => a - b);
    let at = 0;
    return points.map((point) => {
      const piece = bytes.subarray(at, point);
      at = point;
      return piece;
    });
  });
