import { once } from "node:events";
import { PassThrough, Readable } from "node:stream";
import test from "ava";
import fc from "fast-check";
import { RequestBody } from "../../server/wire/request-body.ts";
import { PeerGoneError } from "../../server/wire/request-signal.ts";

function bodyOf(stream: Readable, isCutShort = () => false): RequestBody {
  return new RequestBody({ stream, isCutShort });
}

test("the body gives what came, in order", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.uint8Array({ minLength: 1, maxLength: 50 })), async (parts) => {
      const read = await Array.fromAsync(bodyOf(Readable.from(parts, { objectMode: false })));
      t.deepEqual(Buffer.concat(read), Buffer.concat(parts));
    }),
  );
});

test("the body reads no more than 512 KiB ahead of its reader", async (t) => {
  let produced = 0;
  const stream = new Readable({
    read() {
      produced += 16_384;
      this.push(new Uint8Array(16_384));
    },
  });
  const body = bodyOf(stream);
  await body.next();
  // Enough turns of the event loop for 16 MiB, were nothing to hold them back.
  for (let turn = 0; turn < 1000; turn++) await new Promise((resolve) => setImmediate(resolve));
  t.true(produced <= 512 * 1024, `${produced}`);
  const before = produced;
  for (let chunk = 0; chunk < 100; chunk++) await body.next();
  t.true(produced > before);
  stream.destroy();
});

test("a body that is cut short fails, also when its stream says that it ended", async (t) => {
  const stream = new PassThrough();
  const body = bodyOf(stream, () => true);
  stream.write("some");
  t.is(Buffer.from((await body.next()).value as Uint8Array).toString(), "some");
  stream.end();
  await t.throwsAsync(() => body.next(), { instanceOf: PeerGoneError });
  await t.throwsAsync(() => body.next(), { instanceOf: PeerGoneError });
});

test("a body whose stream is destroyed fails its pending read, and a later first one", async (t) => {
  const stream = new PassThrough();
  stream.on("error", () => {});
  const pending = bodyOf(stream).next();
  stream.destroy();
  await t.throwsAsync(pending, { instanceOf: PeerGoneError });
  await t.throwsAsync(() => bodyOf(stream).next(), { instanceOf: PeerGoneError });
});

test("a stream that ended without a byte, before it was read, is an empty body", async (t) => {
  const stream = new PassThrough();
  stream.end();
  stream.resume();
  await once(stream, "end");
  t.deepEqual(await Array.fromAsync(bodyOf(stream)), []);
});

test("a reader that leaves neither destroys the stream nor waits", async (t) => {
  const stream = new PassThrough();
  const body = bodyOf(stream);
  const pending = body.next();
  await body.return();
  t.deepEqual(await pending, { done: true, value: undefined });
  t.false(stream.destroyed);
  t.is(stream.listenerCount("data"), 0);
});
