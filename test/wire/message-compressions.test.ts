import {
  brotliDecompressSync,
  gunzipSync,
  inflateSync,
  constants as zlib,
  zstdCompressSync,
  zstdDecompressSync,
} from "node:zlib";
import { Code, ConnectError } from "@connectrpc/connect";
import test from "ava";
import fc from "fast-check";
import { compressionZstd, messageCompressions } from "../../server/wire/message-compressions.ts";

// node:zlib's other functions, and bytes of RFC 8878 by hand, against what messages go through.
const decompressors: Readonly<Record<string, (bytes: Uint8Array) => Buffer>> = {
  gzip: gunzipSync,
  br: brotliDecompressSync,
  zstd: zstdDecompressSync,
  deflate: inflateSync,
};

test("gzip, br, zstd and deflate are there, in the order in which peers are told of them", (t) => {
  t.deepEqual(
    messageCompressions.map(({ name }) => name),
    ["gzip", "br", "zstd", "deflate"],
  );
});

for (const compression of messageCompressions) {
  const { name } = compression;

  test(`${name}: what is compressed is what was given`, async (t) => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (bytes) => {
        const compressed = await compression.compress(bytes);
        t.deepEqual(new Uint8Array(decompressors[name]!(compressed)), bytes);
        t.deepEqual(new Uint8Array(await compression.decompress(compressed, 2000)), bytes);
      }),
      { numRuns: 50 },
    );
  });

  test(`${name}: a message may be as long as the limit, and no longer`, async (t) => {
    const compressed = await compression.compress(new Uint8Array(1_000_000));
    t.true(compressed.byteLength < 10_000);
    t.is((await compression.decompress(compressed, 1_000_000)).byteLength, 1_000_000);
    const error = await t.throwsAsync(compression.decompress(compressed, 999_999), {
      instanceOf: ConnectError,
    });
    t.is(error.code, Code.ResourceExhausted);
  });

  test(`${name}: bytes that are cut short or something else are refused`, async (t) => {
    const compressed = await compression.compress(Buffer.from("a text that is not all there"));
    for (const bytes of [compressed.subarray(0, -6), Buffer.from("something else")]) {
      const error = await t.throwsAsync(compression.decompress(bytes, 1000), {
        instanceOf: ConnectError,
      });
      t.is(error.code === Code.ResourceExhausted, false);
    }
  });

  test(`${name}: nothing is nothing`, async (t) => {
    t.is((await compression.decompress(new Uint8Array(0), 10)).byteLength, 0);
  });
}

/** A frame without content that asks for a window of 2^log bytes. */
function zstdFrame(windowLog: number): Buffer {
  return Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, (windowLog - 10) << 3, 0x01, 0x00, 0x00]);
}

test("zstd: a frame may ask for a window of 8 MiB, and not for 128 MiB", async (t) => {
  // What Node takes by default.
  t.is(zstdDecompressSync(zstdFrame(27)).byteLength, 0);
  t.is((await compressionZstd.decompress(zstdFrame(23), 1000)).byteLength, 0);
  for (const log of [24, 27]) {
    await t.throwsAsync(compressionZstd.decompress(zstdFrame(log), 1000), {
      instanceOf: ConnectError,
    });
  }
});

test("zstd: a long message of another encoder with a large window of its own is taken", async (t) => {
  const message = Buffer.alloc(12 * 1024 * 1024, "tensor");
  const params = { [zlib.ZSTD_c_compressionLevel]: 15 };
  const compressed = zstdCompressSync(message, { params });
  t.true(message.equals(await compressionZstd.decompress(compressed, message.length)));
});
