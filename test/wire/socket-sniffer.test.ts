import type { Socket } from "node:net";
import { PassThrough } from "node:stream";
import test from "ava";
import fc from "fast-check";
import { sniff, sniffSocket } from "../../server/wire/socket-sniffer.ts";

const preface = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");

test("sniff waits for three bytes of the preface, and not of anything else", (t) => {
  t.is(sniff(Buffer.from("")), "undecided");
  t.is(sniff(Buffer.from("PR")), "undecided");
  t.is(sniff(Buffer.from("PRI")), "http2");
  t.is(sniff(Buffer.from("PO")), "http1");
  t.is(sniff(Buffer.from([0x16, 0x03])), "http1");
});

test("every start of the preface is HTTP/2 or undecided", (t) => {
  for (let length = 0; length <= preface.byteLength; length++) {
    t.is(sniff(preface.subarray(0, length)), length < 3 ? "undecided" : "http2");
  }
});

const beginning = fc.constantFrom(
  "PRI * HTTP/2.0\r\n",
  "POST / HTTP/1.1\r\n",
  "GET / HTTP/1.1\r\n",
  "PRX",
  "",
);

test("sniffSocket finds the same protocol, and loses no byte, however the bytes are cut", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      beginning,
      fc.uint8Array({ maxLength: 40 }),
      fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1, maxLength: 8 }),
      async (begin, rest, sizes) => {
        const sent = Buffer.concat([Buffer.from(begin), rest]);
        const expected = sniff(sent);
        fc.pre(expected !== "undecided");
        const socket = new PassThrough();
        const decided = Promise.withResolvers<string>();
        sniffSocket(socket as unknown as Socket, 10_000, decided.resolve);
        const whole = decided.promise.then(async (protocol) => ({
          protocol,
          bytes: Buffer.concat(await socket.toArray()),
        }));
        for (let at = 0, turn = 0; at < sent.byteLength; turn++) {
          const size = sizes[turn % sizes.length]!;
          socket.write(sent.subarray(at, at + size));
          at += size;
          await new Promise((resolve) => setImmediate(resolve));
        }
        socket.end();
        const { protocol, bytes } = await whole;
        t.is(protocol, expected);
        t.deepEqual(bytes, sent);
      },
    ),
    { numRuns: 200 },
  );
});

test("sniffSocket closes a socket that ends undecided", async (t) => {
  const socket = new PassThrough();
  sniffSocket(socket as unknown as Socket, 10_000, () => t.fail("decided"));
  socket.end("PR");
  await new Promise((resolve) => socket.once("close", resolve));
  t.true(socket.destroyed);
});
