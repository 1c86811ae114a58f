import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type ServerHttp2Stream } from "node:http2";
import type { AddressInfo } from "node:net";
import test from "ava";
import fc, { type Arbitrary } from "fast-check";
import {
  HeaderTemplate,
  HpackEncoder,
  type OutgoingField,
} from "../../../server/wire/http2/hpack/hpack-encoder.ts";
import {
  headersFrame,
  type RawFrame,
  rawSetting,
  rawType,
  windowUpdateFrame,
} from "../../support/raw-http2-frames.ts";
import { openRawPeer } from "../../support/raw-http2-peer.ts";
import { openHttp2, request2, startWire, text } from "../start-wire.ts";
import { fuzz } from "./fuzz-budget.ts";

/** Names of fields that no protocol gives a meaning. */
const name = fc
  .array(fc.constantFrom(..."abcdefghijklmnopqrstuvwxyz0123456789-_.!#$%&'*+^`|~"), {
    minLength: 1,
    maxLength: 20,
  })
  .map((characters) => `x-${characters.join("")}`);

/** Values with every byte that a field may hold (RFC 9110, section 5.5). */
const value = fc
  .array(fc.oneof(fc.integer({ min: 0x20, max: 0x7e }), fc.integer({ min: 0x80, max: 0xff })), {
    maxLength: 80,
  })
  .map((codes) => String.fromCharCode(...codes).replace(/^ +| +$/g, ""));

const fields: Arbitrary<readonly OutgoingField[]> = fc.uniqueArray(fc.tuple(name, value), {
  maxLength: 15,
  selector: ([given]) => given,
});

/** Fields that come again and again, so that the tables of both sides fill and are used. */
const known: readonly OutgoingField[] = Array.from({ length: 40 }, (_, index) => [
  `x-known-${index % 13}-${index}`,
  `value-${"v".repeat(index * 5)}`,
]);
const request: Arbitrary<readonly OutgoingField[]> = fc
  .tuple(fields, fc.subarray([...known], { maxLength: 10 }))
  .map(([random, repeated]) => [...repeated, ...random]);

const custom = (headers: IncomingHttpHeaders): readonly (readonly [string, unknown])[] =>
  Object.entries(headers).filter(([given]) => given.startsWith("x-"));

function assertSame(given: readonly unknown[], expected: readonly unknown[], where: string): void {
  const sorted = (list: readonly unknown[]): string =>
    JSON.stringify(list.map((item) => JSON.stringify(item)).sort());
  if (sorted(given) !== sorted(expected)) {
    throw new Error(`${where}\n  given    ${sorted(given)}\n  expected ${sorted(expected)}`);
  }
}

test.serial("fields of Node's client arrive, and those of the answer come back", async (t) => {
  const { port, wire } = await startWire(t, async ({ header }) => {
    const received = [...header].filter(([given]) => given.startsWith("x-"));
    return {
      status: 200,
      header: new Headers(received),
      body: text(JSON.stringify(received)),
      trailer: new Headers(received.map(([given, of]) => [`x-trailer-${given}`, of])),
    };
  });
  const session = openHttp2(t, port);
  const runs = await fuzz(t, 0.2, request, async (sent) => {
    const answer = await request2(session, { ":path": "/", ...Object.fromEntries(sent) });
    assertSame(JSON.parse(answer.body.toString()), sent, "the request");
    assertSame(custom(answer.headers), sent, "the answer");
    assertSame(
      custom(answer.trailers ?? {}),
      sent.map(([given, of]) => [`x-trailer-${given}`, of]),
      "the trailers",
    );
  });
  t.log(`${runs} requests on one connection`);
  t.true(runs > 20);
  t.is(wire.stats.refusals.protocol, 0);
});

test.serial("what the encoder writes, Node's server reads", async (t) => {
  const server = createServer({
    settings: { headerTableSize: 4096, maxHeaderListSize: 1e6 },
    maxHeaderListPairs: 1000,
  });
  server.on("stream", (stream: ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    stream.respond({ ":status": 200 });
    stream.end(JSON.stringify(custom(headers)));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => server.close());
  const peer = await openRawPeer(t, (server.address() as AddressInfo).port, {
    settings: [[rawSetting.initialWindowSize, 2 ** 30]],
  });
  const encoder = new HpackEncoder();
  const beginning: readonly OutgoingField[] = [
    [":method", "GET"],
    [":scheme", "http"],
    [":authority", "raw"],
    [":path", "/"],
  ];
  const templates = Array.from(
    { length: 6 },
    (_, index) => new HeaderTemplate([...beginning, ...known.slice(index * 5, index * 5 + 5)]),
  );
  let streamId = -1;
  const runs = await fuzz(t, 0.1, fc.tuple(fields, fc.nat(6)), async ([random, which]) => {
    streamId += 2;
    const template = templates[which];
    const encoded = template
      ? encoder.encode(template, random.length > 0 ? random : undefined)
      : encoder.encodeFields([...beginning, ...random]);
    peer.write(headersFrame(streamId, encoded));
    const body: Buffer[] = [];
    const isOfStream = (frame: RawFrame): boolean =>
      frame.streamId === streamId && frame.type !== rawType.windowUpdate;
    for (let ended = false; !ended; ) {
      const frame = await peer.next(isOfStream, `the answer on stream ${streamId}`);
      if (frame.type === rawType.data) body.push(frame.payload);
      ended = (frame.flags & 1) !== 0 || frame.type === rawType.rstStream;
    }
    const answered = Buffer.concat(body);
    peer.write(windowUpdateFrame(0, answered.byteLength));
    const expected = [...(template?.fields.slice(beginning.length) ?? []), ...random];
    assertSame(JSON.parse(answered.toString()), expected, "the request");
  });
  t.log(`${runs} header blocks on one connection`);
  t.true(runs > 20);
});
