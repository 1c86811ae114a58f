import { Code, ConnectError } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import test from "ava";
import fc from "fast-check";
import { RequestGuard } from "../../server/rpc/request-guard.ts";
import { envelope } from "./start-host.ts";

const limit = 100;

function guard(
  parts: AsyncIterable<Uint8Array>,
  contentType = "application/grpc",
  timeoutMs?: number,
): RequestGuard {
  const request: UniversalServerRequest = {
    httpVersion: "2.0",
    method: "POST",
    url: "http://localhost/",
    header: new Headers({ "content-type": contentType }),
    body: parts,
    signal: new AbortController().signal,
  };
  return new RequestGuard(request, limit, timeoutMs);
}

async function* cut(bytes: Uint8Array, sizes: readonly number[]): AsyncIterable<Uint8Array> {
  for (let at = 0, turn = 0; at < bytes.byteLength; turn++) {
    const size = sizes[turn % sizes.length]!;
    yield bytes.subarray(at, at + size);
    at += size;
  }
}

const sizes = fc.array(fc.integer({ min: 1, max: 60 }), { minLength: 1, maxLength: 5 });

test("messages within the limit pass unchanged, however they are cut; one above does not", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: limit + 20 }), { minLength: 1, maxLength: 6 }),
      sizes,
      async (lengths, cuts) => {
        const bytes = Buffer.concat(lengths.map((length) => envelope(Buffer.alloc(length, 0xee))));
        const read = Array.fromAsync(guard(cut(bytes, cuts)));
        if (lengths.every((length) => length <= limit)) {
          t.deepEqual(Buffer.concat(await read), bytes);
        } else {
          const error = await t.throwsAsync(read, { instanceOf: ConnectError });
          t.is(error.code, Code.ResourceExhausted);
          const first = lengths.find((length) => length > limit);
          t.true(error.rawMessage.includes(`${first} bytes, the limit is ${limit} bytes`));
        }
      },
    ),
  );
});

test("a body without envelopes is counted as a whole", async (t) => {
  const read = (length: number) =>
    Array.fromAsync(guard(cut(new Uint8Array(length), [30]), "application/proto"));
  t.is(Buffer.concat(await read(limit)).byteLength, limit);
  const error = await t.throwsAsync(() => read(limit + 1), { instanceOf: ConnectError });
  t.regex(error.rawMessage, /more than 100 bytes/);
});

test("a read that is pending at the deadline fails, and those after it", async (t) => {
  const never: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
  };
  const body = guard(never, "application/grpc", 20);
  const error = await t.throwsAsync(() => body.next(), { instanceOf: ConnectError });
  t.is(error.code, Code.DeadlineExceeded);
  await t.throwsAsync(() => body.next(), { instanceOf: ConnectError });
});
