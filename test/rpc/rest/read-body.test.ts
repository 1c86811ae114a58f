import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { readBody } from "../../../server/rpc/rest/read-body.ts";

function request(parts: readonly Uint8Array[], header: HeadersInit = {}): UniversalServerRequest {
  return {
    httpVersion: "1.1",
    method: "POST",
    url: "http://host/",
    header: new Headers(header),
    body: (async function* () {
      yield* parts;
    })(),
    signal: new AbortController().signal,
    contextValues: undefined as never,
  };
}

test("a body is what its parts hold, however it is cut and whatever length it declares", async (t) => {
  await t.notThrowsAsync(() =>
    fc.assert(
      fc.asyncProperty(
        fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 12 }),
        fc.option(fc.nat(500), { nil: undefined }),
        async (parts, declared) => {
          const header = new Headers();
          if (declared !== undefined) header.set("content-length", String(declared));
          const body = await readBody(request(parts, header), 500);
          return Buffer.concat(parts).equals(Buffer.from(body));
        },
      ),
    ),
  );
});

test("a body of one part is a view, not a copy", async (t) => {
  const part = Uint8Array.of(1, 2, 3);
  t.is((await readBody(request([part]), 10)).buffer, part.buffer);
});

test("a body is refused as soon as it is above the limit, whatever it declares", async (t) => {
  let read = 0;
  const endless = (async function* () {
    for (;;) {
      read += 10;
      yield new Uint8Array(10);
    }
  })();
  const error = await t.throwsAsync(
    readBody({ ...request([], { "content-length": "5" }), body: endless }, 100),
    { instanceOf: TensorwireError },
  );
  t.is(error?.reason, "REQUEST_TOO_LARGE");
  t.is(read, 110);
});

for (const [encoding, compress] of [
  ["gzip", gzipSync],
  ["deflate", deflateSync],
  ["br", brotliCompressSync],
  ["zstd", zstdCompressSync],
] as const) {
  const header = { "content-encoding": encoding };

  test(`a ${encoding} body is read up to the limit, and refused above it`, async (t) => {
    const body = await readBody(request([compress(Buffer.alloc(100, 7))], header), 100);
    t.deepEqual(new Uint8Array(body), new Uint8Array(100).fill(7));
    const error = await t.throwsAsync(
      readBody(request([compress(Buffer.alloc(101, 7))], header), 100),
      { instanceOf: TensorwireError, message: /decompresses to more than 100 bytes/ },
    );
    t.is(error?.metadata.limitBytes, "100");
  });

  test(`a ${encoding} body that is cut short is refused`, async (t) => {
    const whole = compress(Buffer.from("a text that is not all there"));
    const error = await t.throwsAsync(
      readBody(request([whole.subarray(0, whole.byteLength - 6)], header), 1000),
      { instanceOf: TensorwireError },
    );
    t.is(error?.reason, "REQUEST_MALFORMED");
  });
}
