import test from "ava";
import fc from "fast-check";
import { ContentReader } from "../../../server/wire/http1/content-reader.ts";
import { Http1Error } from "../../../server/wire/http1/http1-error.ts";
import type { ContentEnd } from "../../../server/wire/http1/read-head.ts";

/** Reads bytes in pieces; what the sink was told, and how many bytes were left. */
function read(end: ContentEnd, length: number, bytes: Buffer, cuts: readonly number[]) {
  const content: Buffer[] = [];
  let trailers: Record<string, string> | undefined;
  let ends = 0;
  const reader = new ContentReader({
    onContent(part, last) {
      content.push(Buffer.from(part));
      if (last) ends++;
    },
    onContentTrailers(fields) {
      trailers = Object.fromEntries(fields.map(({ name, value }) => [name, value]));
      ends++;
    },
  });
  reader.begin(end, length);
  const places = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let rest = 0;
  let from = 0;
  for (const to of [...places, bytes.length]) {
    const piece = bytes.subarray(from, to);
    from = to;
    if (piece.length === 0) continue;
    if (reader.done) rest += piece.length;
    else rest += piece.length - reader.read(piece, 0);
  }
  return {
    text: Buffer.concat(content).toString("latin1"),
    trailers,
    ends,
    rest,
    done: reader.done,
  };
}

const parts = fc.array(fc.uint8Array({ minLength: 1, maxLength: 40 }), { maxLength: 8 });
const cuts = fc.array(fc.nat(500), { maxLength: 20 });

test("chunks are read, however they are cut", (t) => {
  fc.assert(
    fc.property(parts, cuts, fc.boolean(), fc.nat(20), (chunks, places, withTrailers, more) => {
      const framed = Buffer.concat([
        ...chunks.map((chunk) =>
          Buffer.concat([
            Buffer.from(`${chunk.length.toString(16).toUpperCase()};ext="a b"\r\n`),
            chunk,
            Buffer.from("\r\n"),
          ]),
        ),
        Buffer.from(`0\r\n${withTrailers ? "X-Sum: 1\r\nX-More: 2\r\n" : ""}\r\n`),
        Buffer.alloc(more, 0x41),
      ]);
      const result = read("chunked", -1, framed, places);
      t.is(result.text, Buffer.concat(chunks).toString("latin1"));
      t.is(result.ends, 1);
      t.true(result.done);
      t.is(result.rest, more);
      t.deepEqual(result.trailers, withTrailers ? { "x-sum": "1", "x-more": "2" } : undefined);
    }),
  );
});

test("content of a length is read, however it is cut, and not more", (t) => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 300 }), fc.nat(50), cuts, (length, more, places) => {
      const result = read("length", length, Buffer.alloc(length + more, 0x42), places);
      t.is(result.text.length, length);
      t.is(result.ends, 1);
      t.is(result.rest, more);
    }),
  );
});

for (const [why, text] of [
  ["no size", "\r\nabc\r\n"],
  ["a size that is no number", "xyz\r\n"],
  ["a size with a sign", "+3\r\nabc\r\n"],
  ["a size that is too large", "1234567890abc\r\n"],
  ["a bare line feed behind the size", "3\nabc\r\n"],
  ["data that is longer than its size", "3\r\nabcd\r\n0\r\n\r\n"],
  ["a line end that is not whole", "3\r\nabc\rX"],
  ["an extension without end", `3;${"x".repeat(5000)}`],
] as const) {
  test(`chunks are refused for ${why}`, (t) => {
    t.throws(() => read("chunked", -1, Buffer.from(text), []), { instanceOf: Http1Error });
  });
}

test("trailers are bounded", (t) => {
  const bytes = Buffer.from(`0\r\n${"X-A: 1\r\n".repeat(6000)}\r\n`);
  t.throws(() => read("chunked", -1, bytes, [1000, 20_000, 33_000]), { instanceOf: Http1Error });
});
