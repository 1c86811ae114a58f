import test from "ava";
import fc, { type Arbitrary } from "fast-check";
import { HpackDecoder } from "../../../server/wire/http2/hpack/hpack-decoder.ts";
import {
  HeaderTemplate,
  HpackEncoder,
  type OutgoingField,
} from "../../../server/wire/http2/hpack/hpack-encoder.ts";
import { HpackError } from "../../../server/wire/http2/hpack/hpack-error.ts";
import {
  hpackBlock,
  hpackHuffman,
  hpackIndex,
  hpackIndexedLiteral,
  hpackTableSize,
} from "../../support/raw-hpack.ts";
import { fuzz } from "./fuzz-budget.ts";

/** So small that random lists are within it and beyond it. */
const limits = { maxTableBytes: 4096, maxListBytes: 600 };
const bytes = (maxLength: number): Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((given) => Buffer.from(given));

/** Text whose characters are bytes. */
const byteText = fc
  .array(fc.nat(255), { maxLength: 60 })
  .map((codes) => String.fromCharCode(...codes));
const name = fc.oneof(
  fc.constantFrom(":path", ":status", "content-type", "grpc-status", "cookie", "x-a", "x-b", "te"),
  byteText,
);
const value = fc.oneof(fc.constantFrom("", "200", "0", "/", "application/grpc"), byteText);
const fields: Arbitrary<readonly OutgoingField[]> = fc.array(fc.tuple(name, value), {
  maxLength: 12,
});

/** Pieces of blocks that mean something, so that random bytes meet a table that is filled. */
const piece: Arbitrary<Buffer> = fc.oneof(
  bytes(40),
  fc.nat(130).map(hpackIndex),
  fc.nat(5000).map(hpackTableSize),
  fields.map(hpackBlock),
  fc.tuple(name, value).map(([n, v]) => hpackIndexedLiteral(n, v)),
  bytes(20).map((coded) => Buffer.concat([Buffer.from([0, 1, 0x78]), hpackHuffman(coded)])),
);
const block = fc.array(piece, { maxLength: 8 }).map((pieces) => Buffer.concat(pieces));

test.serial("whatever bytes come, the decoder gives a bounded list or its one error", async (t) => {
  let refused = 0;
  let taken = 0;
  const runs = await fuzz(t, 0.08, fc.array(block, { maxLength: 10 }), async (blocks) => {
    const decoder = new HpackDecoder(limits);
    for (const given of blocks) {
      try {
        const list = decoder.decode(given, 0, given.byteLength);
        taken++;
        const held = list.fields.reduce((sum, field) => sum + field.size, 0);
        if (held > limits.maxListBytes) throw new Error(`a list of ${held} bytes`);
        if (list.truncated !== list.size > limits.maxListBytes) throw new Error("truncated lies");
      } catch (error) {
        if (!(error instanceof HpackError)) throw error;
        refused++;
        // A connection ends here; a decoder must not break even so.
      }
      if (decoder.tableBytes > limits.maxTableBytes) {
        throw new Error(`a table of ${decoder.tableBytes} bytes`);
      }
    }
  });
  t.log(`${runs} sequences: ${taken} blocks taken, ${refused} refused`);
  t.true(taken > 100 && refused > 100);
});

test.serial(
  "a block means the same wherever it lies in memory, and when it comes again",
  async (t) => {
    const runs = await fuzz(
      t,
      0.04,
      fc.tuple(block, bytes(20), bytes(20)),
      async ([given, a, b]) => {
        const around = Buffer.concat([a, given, b]);
        const end = a.byteLength + given.byteLength;
        const plain = outcomes(new HpackDecoder(limits), given, 0, given.byteLength);
        const within = outcomes(new HpackDecoder(limits), around, a.byteLength, end);
        if (plain !== within) throw new Error(`${plain}\n${within}`);
      },
    );
    t.true(runs > 20);
  },
);

/** What a decoder makes of a block three times in a row. */
function outcomes(decoder: HpackDecoder, given: Buffer, start: number, end: number): string {
  const all: unknown[] = [];
  for (let turn = 0; turn < 3; turn++) {
    try {
      const { fields: list, size, truncated } = decoder.decode(given, start, end);
      all.push([list.map(({ name: n, value: v }) => [n, v]), size, truncated]);
    } catch (error) {
      all.push(String(error));
      break;
    }
  }
  return JSON.stringify(all);
}

/** What an encoder is asked for: fields, or one of a few templates with fields. */
type Turn =
  | { readonly kind: "fields"; readonly fields: readonly OutgoingField[] }
  | { readonly kind: "template"; readonly which: number; readonly fields: readonly OutgoingField[] }
  | { readonly kind: "resize"; readonly bytes: number };

const turn: Arbitrary<Turn> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("fields" as const), fields }) },
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("template" as const),
      which: fc.nat(3),
      fields: fc.oneof(fc.constant([]), fields),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("resize" as const),
      bytes: fc.oneof(fc.nat(300), fc.constantFrom(0, 4096, 65_536)),
    }),
  },
);

const dialogue = fc.tuple(
  fc.array(fields, { minLength: 4, maxLength: 4 }),
  fc.array(turn, { maxLength: 25 }),
);

test.serial("what the encoder writes, the decoder reads", async (t) => {
  const runs = await fuzz(t, 0.08, dialogue, async ([templateFields, turns]) => {
    const templates = templateFields.map((of) => new HeaderTemplate(of));
    const encoder = new HpackEncoder();
    const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 1e9 });
    for (const step of turns) {
      if (step.kind === "resize") {
        encoder.setPeerTableBytes(step.bytes);
        continue;
      }
      const template = step.kind === "template" ? templates[step.which]! : undefined;
      const encoded = template
        ? encoder.encode(template, step.fields.length > 0 ? step.fields : undefined)
        : encoder.encodeFields(step.fields);
      const expected = [...(template?.fields ?? []), ...step.fields];
      const { fields: given } = decoder.decode(encoded, 0, encoded.byteLength);
      const read = given.map((field) => [field.name, field.value]);
      if (JSON.stringify(read) !== JSON.stringify(expected)) {
        throw new Error(`wrote ${JSON.stringify(expected)}\nread  ${JSON.stringify(read)}`);
      }
    }
  });
  t.true(runs > 20);
});
