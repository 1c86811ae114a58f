import test from "ava";
import {
  afterFirst,
  eventBytes,
  eventStreamResponse,
} from "../../../server/rpc/rest/event-stream.ts";

test("an event is data and an empty line", (t) => {
  t.is(Buffer.from(eventBytes('{"a":"\\n"}')).toString(), 'data: {"a":"\\n"}\n\n');
});

test("a response of events is neither kept nor held back", (t) => {
  const { status, header } = eventStreamResponse((async function* () {})());
  t.is(status, 200);
  t.is(header?.get("content-type"), "text/event-stream; charset=utf-8");
  t.is(header?.get("cache-control"), "no-cache");
});

test("what fails before its first item throws at once; later failures come where they stand", async (t) => {
  const items = async function* (failAt: number): AsyncGenerator<number> {
    for (let item = 0; item < 3; item++) {
      if (item === failAt) throw new Error("no");
      yield item;
    }
  };
  await t.throwsAsync(afterFirst(items(0)), { message: "no" });
  const seen: number[] = [];
  const later = await afterFirst(items(2));
  await t.throwsAsync(async () => {
    for await (const item of later) seen.push(item);
  });
  t.deepEqual(seen, [0, 1]);
  const all: number[] = [];
  for await (const item of await afterFirst(items(9))) all.push(item);
  t.deepEqual(all, [0, 1, 2]);
  const none: number[] = [];
  for await (const item of await afterFirst((async function* (): AsyncGenerator<number> {})()))
    none.push(item);
  t.deepEqual(none, []);
});

test("leaving ends the items, also before one was read", async (t) => {
  let ended = 0;
  const items = async function* (): AsyncGenerator<number> {
    try {
      for (;;) yield 1;
    } finally {
      ended++;
    }
  };
  for await (const _ of await afterFirst(items())) break;
  t.is(ended, 1);
  await (await afterFirst(items()))[Symbol.asyncIterator]().return?.();
  t.is(ended, 2);
});
