import { deepStrictEqual } from "node:assert";
import { once } from "node:events";
import { connect, type IncomingHttpHeaders } from "node:http2";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { HpackDecoder } from "../../../../server/wire/http2/hpack/hpack-decoder.ts";
import {
  HeaderTemplate,
  HpackEncoder,
  type OutgoingField,
} from "../../../../server/wire/http2/hpack/hpack-encoder.ts";
import { headersFrame, rawFlag, rawType } from "../../../support/raw-http2-frames.ts";
import { startRawServer } from "../../client/start-peers.ts";

const name = fc.stringMatching(/^x-[a-z0-9_-]{1,30}$/);
const value = fc.stringMatching(/^[!-~\x80-\xff]{1,60}$/);
const fields = fc.array(fc.tuple(name, value), { maxLength: 8 });
const templates = fc.array(fields, { minLength: 1, maxLength: 5 });
const blocks = fc.array(
  fc.record({ template: fc.nat(), fields: fc.option(fields, { nil: undefined }) }),
  { minLength: 1, maxLength: 30 },
);

test("nghttp2 reads what it writes, block after block of one connection", async (t) => {
  const { session, answer } = await nghttp2Client(t);
  const encoder = new HpackEncoder();
  // One connection for all runs: the tables of both sides must stay the same through all of them.
  await fc.assert(
    fc.asyncProperty(templates, blocks, async (given, sequence) => {
      const made = given.map((more) => new HeaderTemplate([[":status", "200"], ...more]));
      for (const { template, fields: more } of sequence) {
        const chosen = made[template % made.length]!;
        const received = await answer(encoder.encode(chosen, more));
        const expected = joined([...chosen.fields, ...(more ?? [])]);
        deepStrictEqual(Object.fromEntries(Object.entries(received)), expected);
      }
    }),
    { numRuns: 30 },
  );
  t.false(session.destroyed);
});

/** What node:http2 makes of fields: those of one name are joined. */
function joined(given: readonly OutgoingField[]): Record<string, unknown> {
  const result: Record<string, unknown> = {};
  for (const [field, text] of given) {
    if (field === ":status") result[field] = Number(text);
    else result[field] = field in result ? `${result[field]}, ${text}` : text;
  }
  return result;
}

/** A client of node:http2, to which each call of `answer` gives the head of one response. */
async function nghttp2Client(t: ExecutionContext) {
  const server = await startRawServer(t);
  const session = connect(`http://127.0.0.1:${server.port}`);
  t.teardown(() => session.destroy());
  const peer = await server.next();
  await once(session, "connect");
  const answer = async (block: Buffer): Promise<IncomingHttpHeaders> => {
    const stream = session.request({ ":path": "/" });
    stream.resume();
    const { streamId } = await peer.next(({ type }) => type === rawType.headers, "a request");
    const response = once(stream, "response");
    peer.write(headersFrame(streamId, block, rawFlag.endHeaders | rawFlag.endStream));
    const [headers] = (await response) as [IncomingHttpHeaders];
    if (!stream.closed) await once(stream, "close");
    return headers;
  };
  return { session, answer };
}

const plain: readonly OutgoingField[] = [
  [":status", "200"],
  ["content-type", "application/grpc"],
];

test("a template is written out once, and is one byte a field from then on", (t) => {
  const encoder = new HpackEncoder();
  const template = new HeaderTemplate(plain);
  const first = encoder.encode(template);
  // :status 200 is in the static table; the name of content-type is its field 31.
  t.is(first[0], 0x88);
  t.is(first[1], 0x40 | 31);
  const second = encoder.encode(template);
  t.deepEqual([...second], [0x88, 0x80 | 62]);
  t.deepEqual(encoder.encode(template), second);
  t.is(encoder.encode(template), encoder.encode(template));
});

test("values that must not be guessed are never indexed (section 7.1.3)", (t) => {
  const encoder = new HpackEncoder();
  for (const secret of ["authorization", "cookie", "set-cookie", "proxy-authorization"]) {
    const template = new HeaderTemplate([[secret, "s3cret"]]);
    for (let turn = 0; turn < 3; turn++) t.is(encoder.encode(template)[0]! & 0xf0, 0x10, secret);
  }
});

test("the table ends where the peer says: nothing enters beyond, and nothing is evicted", (t) => {
  for (const peerBytes of [0, 60, 4096, 1_000_000]) {
    const encoder = new HpackEncoder(peerBytes);
    const decoder = new HpackDecoder({
      maxTableBytes: Math.min(peerBytes, 4096),
      maxListBytes: Number.POSITIVE_INFINITY,
    });
    for (let turn = 0; turn < 300; turn++) {
      const template = new HeaderTemplate([[`x-${turn % 150}`, `${"v".repeat(turn % 150)}`]]);
      const block = encoder.encode(template);
      const list = decoder.decode(block, 0, block.length);
      t.deepEqual(
        list.fields.map((field) => [field.name, field.value]),
        [...template.fields.map((field) => [...field])],
      );
    }
    t.true(decoder.tableBytes <= Math.min(peerBytes, 4096));
    t.is(decoder.tableBytes > 0, peerBytes >= 60);
  }
});

test("a peer that makes the table smaller is told so in the next block, and forgets all", (t) => {
  const encoder = new HpackEncoder();
  const template = new HeaderTemplate(plain);
  encoder.encode(template);
  encoder.encode(template);
  encoder.setPeerTableBytes(100);
  const block = encoder.encode(template);
  // First 0, then 100: 0x20, and 0x3f with 100 - 31.
  t.deepEqual([...block.subarray(0, 3)], [0x20, 0x3f, 69]);
  t.is(block[3], 0x88);
  t.is(block[4], 0x40 | 31);
  t.deepEqual([...encoder.encode(template)], [0x88, 0x80 | 62]);
});

test("fields of one call do not enter the table", (t) => {
  const encoder = new HpackEncoder();
  const template = new HeaderTemplate(plain);
  encoder.encode(template);
  const once = encoder.encode(template, [["x-request-id", "1"]]);
  t.deepEqual([...encoder.encode(template, [["x-request-id", "1"]])], [...once]);
  t.deepEqual([...once.subarray(0, 3)], [0x88, 0x80 | 62, 0x00]);
  t.deepEqual([...encoder.encodeFields([["x-request-id", "1"]])], [...once.subarray(2)]);
});
