import { gunzipSync } from "node:zlib";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import test from "ava";
import { acceptsGzip, compressResponse } from "../../../server/rpc/rest/compress-response.ts";
import { BodyParts, jsonResponse } from "../../../server/rpc/rest/json-response.ts";

for (const [header, accepted] of [
  [null, false],
  ["", false],
  ["gzip", true],
  ["br, GZIP ;q=0.5", true],
  ["gzip;q=0", false],
  ["gzip; q=0.0, *", false],
  ["*", true],
  ["*;q=0", false],
  ["identity, deflate", false],
  ["x-gzip", true],
] as const) {
  test(`Accept-Encoding ${header} ${accepted ? "takes" : "does not take"} gzip`, (t) => {
    t.is(acceptsGzip(header), accepted);
  });
}

function request(method = "GET", encoding = "gzip"): UniversalServerRequest {
  return {
    method,
    header: new Headers({ "accept-encoding": encoding }),
  } as Partial<UniversalServerRequest> as UniversalServerRequest;
}

async function bytesOf(body: AsyncIterable<Uint8Array> | undefined): Promise<Buffer> {
  const parts: Uint8Array[] = [];
  for await (const part of body ?? []) parts.push(part);
  return Buffer.concat(parts);
}

const long = JSON.stringify({ text: "abc".repeat(1000) });

test("a JSON answer above 1 KiB is compressed, with its length", async (t) => {
  const response = await compressResponse(request(), jsonResponse(200, long));
  const bytes = await bytesOf(response.body as AsyncIterable<Uint8Array>);
  t.is(response.header?.get("content-encoding"), "gzip");
  t.is(response.header?.get("vary"), "accept-encoding");
  t.is(response.header?.get("content-length"), String(bytes.byteLength));
  t.is(gunzipSync(bytes).toString(), long);
});

test("what is short, binary, or asked for without gzip is sent as it is", async (t) => {
  const short = jsonResponse(200, '"x"');
  const plain = jsonResponse(200, long);
  const binary = {
    status: 200,
    header: new Headers({ "content-type": "application/octet-stream" }),
    body: new BodyParts([new Uint8Array(5000)]),
  };
  t.is(await compressResponse(request(), short), short);
  t.is(await compressResponse(request(), binary), binary);
  t.is(await compressResponse(request("GET", "br"), plain), plain);
  t.false(plain.header?.has("content-encoding"));
});

test("empty parts of a body are left out", async (t) => {
  const parts = [new Uint8Array(), Uint8Array.of(1), new Uint8Array(), Uint8Array.of(2)];
  const sizes: number[] = [];
  for await (const part of new BodyParts(parts)) sizes.push(part.byteLength);
  t.deepEqual(sizes, [1, 1]);
});
