import test from "ava";
import fc from "fast-check";
import type { HeaderList } from "../../../../server/wire/http2/hpack/header-field.ts";
import { HpackDecoder } from "../../../../server/wire/http2/hpack/hpack-decoder.ts";
import { HpackError } from "../../../../server/wire/http2/hpack/hpack-error.ts";
import {
  hpackHuffman,
  hpackIndex,
  hpackIndexedLiteral,
  hpackInteger,
  hpackLiteral,
  hpackString,
  hpackTableSize,
} from "../../../support/raw-hpack.ts";
import { examples, type Fields } from "./rfc7541-examples.ts";

const unlimited = { maxTableBytes: 4096, maxListBytes: Number.POSITIVE_INFINITY };

function decode(decoder: HpackDecoder, ...parts: readonly Uint8Array[]): HeaderList {
  // Not at the beginning of its buffer, as it is in a frame.
  const block = Buffer.concat([Buffer.alloc(3, 0xff), ...parts, Buffer.alloc(2, 0xff)]);
  return decoder.decode(block, 3, block.length - 2);
}

function pairs(list: HeaderList): Fields {
  return list.fields.map(({ name, value }) => [name, value]);
}

for (const { section, maxTableBytes, blocks } of examples) {
  test(`RFC 7541, ${section}`, (t) => {
    const decoder = new HpackDecoder({ ...unlimited, maxTableBytes });
    for (const { hex, fields, tableBytes } of blocks) {
      const list = decode(decoder, Buffer.from(hex.replaceAll(/\s/g, ""), "hex"));
      t.deepEqual(pairs(list), fields);
      t.is(decoder.tableBytes, tableBytes);
    }
  });
}

test("integers of any length: C.1 and beyond", (t) => {
  // 1337 with a prefix of 5 bits is 1f 9a 0a (C.1.2): as the size of a table.
  const decoder = new HpackDecoder({ ...unlimited, maxTableBytes: 1337 });
  t.deepEqual(pairs(decode(decoder, Buffer.from("3f9a0a", "hex"))), []);
  t.throws(() => decode(decoder, Buffer.from("3f9b0a", "hex")), {
    instanceOf: HpackError,
    message: /1338 bytes, it may have 1337/,
  });
});

/** What a connection may send: each changes the tables or refers to them. */
const text = fc.string({
  unit: fc.integer({ min: 0, max: 255 }).map((c) => String.fromCharCode(c)),
  maxLength: 40,
});
const step = fc.oneof(
  fc.record({ kind: fc.constant("literal" as const), name: text, value: text }),
  fc.record({ kind: fc.constant("enters" as const), name: text, value: text }),
  fc.record({ kind: fc.constant("refers" as const), which: fc.nat() }),
  fc.record({ kind: fc.constant("resizes" as const), bytes: fc.integer({ min: 0, max: 300 }) }),
);

test("against a table kept by hand: every reference means what it should, in every block", (t) => {
  fc.assert(
    fc.property(fc.array(fc.array(step, { maxLength: 8 }), { maxLength: 12 }), (connection) => {
      const decoder = new HpackDecoder({ ...unlimited, maxTableBytes: 300 });
      let table: [string, string][] = [];
      let max = 300;
      const size = () => table.reduce((sum, [n, v]) => sum + n.length + v.length + 32, 0);
      const evict = () => {
        while (size() > max) table.pop();
      };
      for (const block of connection) {
        const parts: Buffer[] = [];
        const expected: [string, string][] = [];
        let mayResize = true;
        for (const each of block) {
          if (each.kind === "resizes") {
            if (!mayResize) continue;
            parts.push(hpackTableSize(each.bytes));
            max = each.bytes;
            evict();
            continue;
          }
          mayResize = false;
          if (each.kind === "refers") {
            if (table.length === 0) continue;
            const index = each.which % table.length;
            parts.push(hpackIndex(62 + index));
            expected.push(table[index]!);
          } else {
            const entry: [string, string] = [each.name, each.value];
            expected.push(entry);
            if (each.kind === "literal") parts.push(hpackLiteral(...entry));
            else {
              parts.push(hpackIndexedLiteral(...entry));
              table = [entry, ...table];
              evict();
            }
          }
        }
        t.deepEqual(pairs(decode(decoder, ...parts)), expected);
        t.is(decoder.tableBytes, size());
      }
    }),
    { numRuns: 300 },
  );
});

test("a block that came before means the same only while the table does", (t) => {
  const decoder = new HpackDecoder(unlimited);
  decode(decoder, hpackIndexedLiteral("a", "1"));
  const first = decode(decoder, hpackIndex(62));
  t.is(decode(decoder, hpackIndex(62)), first);
  decode(decoder, hpackIndexedLiteral("b", "2"));
  t.deepEqual(pairs(decode(decoder, hpackIndex(62))), [["b", "2"]]);
  t.deepEqual(pairs(decode(decoder, hpackIndex(63))), [["a", "1"]]);
});

test("a list above the limit is read to its end, so that the table stays right", (t) => {
  const decoder = new HpackDecoder({ maxTableBytes: 4096, maxListBytes: 100 });
  const list = decode(
    decoder,
    hpackLiteral("a", "x".repeat(60)),
    hpackLiteral("b", "x".repeat(60)),
    hpackIndexedLiteral("c", "3"),
  );
  t.true(list.truncated);
  t.is(list.size, 2 * (32 + 61) + 34);
  t.deepEqual(pairs(list), [["a", "x".repeat(60)]]);
  t.deepEqual(pairs(decode(decoder, hpackIndex(62))), [["c", "3"]]);
});

test("an entry larger than the table empties it", (t) => {
  const decoder = new HpackDecoder({ ...unlimited, maxTableBytes: 64 });
  decode(decoder, hpackIndexedLiteral("a", "1"));
  decode(decoder, hpackIndexedLiteral("b", "x".repeat(64)));
  t.is(decoder.tableBytes, 0);
  t.throws(() => decode(decoder, hpackIndex(62)), { message: /index 62 is not in the tables/ });
});

const wrong: Readonly<Record<string, readonly [RegExp, ...Uint8Array[]]>> = {
  "index 0": [/index 0/, Buffer.of(0x80)],
  "an index behind the tables": [/index 62 is not/, hpackIndex(62)],
  "the index of a name behind the tables": [/index 70/, hpackInteger(0, 4, 70), hpackString("v")],
  "an integer without an end": [/ends within an integer/, Buffer.of(0xff)],
  "an integer above 2^28": [/2\^28/, Buffer.from("ffffffffff7f", "hex")],
  "a literal without a name": [/before a string/, Buffer.of(0x40)],
  "a literal without a value": [/before a string/, Buffer.of(0x40), hpackString("a")],
  "a string that is cut": [/within a string/, Buffer.of(0x40, 5, 0x61)],
  "a larger table than ours": [/4097 bytes, it may have 4096/, hpackTableSize(4097)],
  "a change of the table behind a field": [/behind a field/, hpackIndex(2), hpackTableSize(0)],
  "Huffman padding of zeros": [
    /Huffman/,
    Buffer.of(0x40),
    hpackString("a"),
    hpackHuffman(Buffer.of(0x18)),
  ],
  "Huffman padding of 8 bits": [
    /Huffman/,
    Buffer.of(0x40),
    hpackString("a"),
    hpackHuffman(Buffer.of(0x1f, 0xff)),
  ],
  "EOS within a string": [
    /Huffman/,
    Buffer.of(0x40),
    hpackString("a"),
    hpackHuffman(Buffer.of(0xff, 0xff, 0xff, 0xff)),
  ],
};
for (const [name, [message, ...parts]] of Object.entries(wrong)) {
  test(`refused: ${name}`, (t) => {
    const decoder = new HpackDecoder(unlimited);
    t.throws(() => decode(decoder, ...parts), { instanceOf: HpackError, message });
  });
}
