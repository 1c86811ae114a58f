import test from "ava";
import { Drainer } from "../../server/queue-proxy/drainer.ts";
import { virtualClock } from "../support/virtual-clock.ts";

/** Lets what waits for promises go on. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("draining is over when no call has come for the quiet period", async (t) => {
  const clock = virtualClock();
  const drainer = new Drainer(30_000, clock);
  t.false(drainer.draining);
  let over = false;
  void drainer.drain().then(() => {
    over = true;
  });
  t.true(drainer.draining);
  clock.advance(29_000);
  drainer.onCall();
  clock.advance(29_000);
  await settle();
  t.false(over);
  clock.advance(1_000);
  await settle();
  t.true(over);
  t.true(drainer.draining);
});

test("whoever joins in waits for the same end, and a reset lets all go", async (t) => {
  const clock = virtualClock();
  const drainer = new Drainer(30_000, clock);
  const first = drainer.drain();
  clock.advance(10_000);
  const second = drainer.drain();
  drainer.reset();
  await Promise.all([first, second]);
  t.false(drainer.draining);
  t.deepEqual(clock.due(), []);
  const third = drainer.drain();
  clock.advance(30_000);
  await third;
  t.true(drainer.draining);
});
