import test from "ava";
import fc from "fast-check";
import {
  decodeHuffman,
  encodeHuffman,
  huffmanLength,
  maxDecodedBytes,
} from "../../../../server/wire/http2/hpack/huffman.ts";

function encode(text: string): Buffer {
  const target = Buffer.alloc(huffmanLength(text) + 2, 0xee);
  const end = encodeHuffman(text, target, 1);
  // It says beforehand how long it is, and touches nothing else.
  if (end !== target.length - 1 || target[0] !== 0xee || target[end] !== 0xee) {
    throw new Error(`${end} of ${target.length}`);
  }
  return target.subarray(1, end);
}

function decode(coded: Uint8Array): string | undefined {
  const target = Buffer.alloc(maxDecodedBytes(coded.length));
  const length = decodeHuffman(coded, 0, coded.length, target);
  return length === -1 ? undefined : target.toString("latin1", 0, length);
}

// RFC 7541, appendix C.4 and C.6.
const known: Readonly<Record<string, string>> = {
  "www.example.com": "f1e3c2e5f23a6ba0ab90f4ff",
  "no-cache": "a8eb10649cbf",
  "custom-key": "25a849e95ba97d7f",
  "custom-value": "25a849e95bb8e8b4bf",
  302: "6402",
  private: "aec3771a4b",
  "Mon, 21 Oct 2013 20:13:21 GMT": "d07abe941054d444a8200595040b8166e082a62d1bff",
  "https://www.example.com": "9d29ad171863c78f0b97c8e9ae82ae43d3",
  307: "640eff",
  gzip: "9bd9ab",
  "": "",
};
for (const [text, hex] of Object.entries(known)) {
  test(`"${text}"`, (t) => {
    t.is(encode(text).toString("hex"), hex);
    t.is(decode(Buffer.from(hex, "hex")), text);
  });
}

test("every byte by itself, and what it costs (appendix B)", (t) => {
  for (let byte = 0; byte < 256; byte++) {
    const text = String.fromCharCode(byte);
    t.is(decode(encode(text)), text);
  }
  // Some rows of the table: symbol, bits.
  const bits: readonly [number, number][] = [
    [0x30, 5],
    [0x20, 6],
    [0x26, 8],
    [0x00, 13],
    [0x5c, 19],
    [0x80, 20],
    [0x01, 23],
    [0x0a, 30],
    [0xff, 26],
  ];
  for (const [byte, length] of bits) {
    t.is(huffmanLength(String.fromCharCode(byte).repeat(8)), length, `${byte}`);
  }
});

test("any bytes come back", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
      const text = Buffer.from(bytes).toString("latin1");
      t.is(decode(encode(text)), text);
    }),
  );
});

test("what decodes is what its text encodes to: there is one code for each string", (t) => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 12 }), (bytes) => {
      const text = decode(bytes);
      if (text !== undefined) t.deepEqual(encode(text), Buffer.from(bytes));
    }),
    { numRuns: 3000 },
  );
  t.pass();
});

test("padding is at most 7 bits, all ones; EOS is no symbol (section 5.2)", (t) => {
  // "0" is 00000, then 111.
  t.is(decode(Buffer.of(0b0000_0111)), "0");
  for (const padding of [0b000, 0b001, 0b011, 0b101, 0b110]) {
    t.is(decode(Buffer.of(padding)), undefined, padding.toString(2));
  }
  t.is(decode(Buffer.of(0b0000_0111, 0xff)), undefined);
  t.is(decode(Buffer.of(0xff)), undefined);
  t.is(decode(Buffer.of(0xff, 0xff, 0xff, 0xfc)), undefined);
});
