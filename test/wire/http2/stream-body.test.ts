import test from "ava";
import fc from "fast-check";
import type { Http2Stream } from "../../../server/wire/http2/http2-stream.ts";
import { StreamBody } from "../../../server/wire/http2/stream-body.ts";
import { PeerGoneError } from "../../../server/wire/request-signal.ts";

function start() {
  const given = { bytes: 0 };
  const stream = {
    consume: (bytes: number) => {
      given.bytes += bytes;
    },
  } as unknown as Http2Stream;
  return { body: new StreamBody(stream), given };
}

const bytes = (length: number): Uint8Array => new Uint8Array(length).fill(length);

test("the window opens by what was read, not by what came", async (t) => {
  const { body, given } = start();
  body.push(bytes(10));
  body.push(bytes(20));
  body.end();
  t.is(given.bytes, 0);
  t.is((await body.next()).value?.length, 10);
  t.is(given.bytes, 10);
  t.is((await body.next()).value?.length, 20);
  t.is(given.bytes, 30);
  t.true((await body.next()).done);
  t.true((await body.next()).done);
});

test("a reader that waits gets what comes next", async (t) => {
  const { body, given } = start();
  const next = body.next();
  body.push(new Uint8Array(0));
  body.push(bytes(5));
  t.is((await next).value?.length, 5);
  t.is(given.bytes, 5);
  const last = body.next();
  body.end();
  t.true((await last).done);
});

test("a failure comes behind what came before it, and again", async (t) => {
  const { body } = start();
  body.push(bytes(5));
  body.fail();
  body.end();
  t.is((await body.next()).value?.length, 5);
  await t.throwsAsync(body.next(), { instanceOf: PeerGoneError });
  await t.throwsAsync(body.next(), { instanceOf: PeerGoneError });
});

test("a reader that leaves gives back the window of what it did not read, then and later", async (t) => {
  const { body, given } = start();
  body.push(bytes(10));
  body.push(bytes(20));
  for await (const chunk of body) {
    t.is(chunk.length, 10);
    break;
  }
  t.is(given.bytes, 30);
  body.push(bytes(7));
  t.is(given.bytes, 37);
  t.true((await body.next()).done);
});

test("whatever comes in whatever order: all of the window is given back, and bytes are in order", async (t) => {
  const deed = fc.constantFrom("push", "read", "leave", "end", "fail");
  await fc.assert(
    fc.asyncProperty(fc.array(deed, { maxLength: 30 }), async (deeds) => {
      const { body, given } = start();
      let pushed = 0;
      let waiting: Promise<unknown> | undefined;
      let ended = false;
      const read: number[] = [];
      for (const each of deeds) {
        if (each === "push" && !ended) body.push(bytes(++pushed));
        else if (each === "read") {
          // One reader, one call at a time.
          await Promise.race([waiting, Promise.resolve()]);
          if (waiting) continue;
          waiting = body
            .next()
            .then(({ value }) => value && read.push(value.length))
            .catch(() => {})
            .finally(() => {
              waiting = undefined;
            });
          await Promise.resolve();
        } else if (each === "leave") body.leave();
        else if (each === "end") {
          ended = true;
          body.end();
        } else if (each === "fail") {
          ended = true;
          body.fail();
        }
      }
      body.leave();
      await waiting;
      t.is(given.bytes, (pushed * (pushed + 1)) / 2);
      t.deepEqual(
        read,
        read.toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 300 },
  );
});
