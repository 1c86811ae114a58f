import test from "ava";
import { parseTrigger } from "../../../server/autoscaling/scaler/trigger.ts";
import {
  type Reading,
  WatchedTrigger,
} from "../../../server/autoscaling/scaler/watched-trigger.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";

function watch(window = "10") {
  let now = 0;
  let next: number | Error | undefined = 0;
  const asked: number[] = [];
  const watched = new WatchedTrigger({
    trigger: parseTrigger({ metric: "concurrency", target: "1", window }),
    async ask(seconds): Promise<Reading> {
      asked.push(seconds);
      if (next instanceof Error) throw next;
      return { value: next, asked: 1, answered: 1 };
    },
    now: () => now,
    onReading() {},
  });
  const look = async (seconds: number, value: number | Error | undefined) => {
    now += seconds * 1000;
    next = value;
    await watched.refresh();
  };
  return { watched, look, asked, pass: (seconds: number) => (now += seconds * 1000) };
}

test("a value holds until the next look; the average is over the window", async (t) => {
  const { watched, look } = watch();
  await look(0, 4);
  t.is(await watched.value(), 4);
  // Seconds 0 and 1 are 4, second 2 is 10.
  await look(2, 10);
  t.is(await watched.value(), 6);
  // Seconds 3 to 11 are 10, second 12 is 0: of the ten seconds from 3 on, nine are 10.
  await look(10, 0);
  t.is(await watched.value(), 9);
});

test("the first who asks waits for the first look, and all of them for one", async (t) => {
  const { watched, asked } = watch();
  t.deepEqual(await Promise.all([watched.value(), watched.value()]), [0, 0]);
  t.deepEqual(asked, [0]);
});

test("while the source fails the window still serves, and then the failure", async (t) => {
  const { watched, look, asked } = watch();
  await look(0, 8);
  await look(2, new Error("connection refused"));
  t.is(await watched.value(), 8);
  await look(10, new Error("connection refused"));
  await t.throwsAsync(watched.value(), {
    instanceOf: TensorwireError,
    message: "metric tensorwire-concurrency cannot be had: connection refused",
  });
  t.deepEqual(asked, [0, 2, 10]);
  await look(2, 3);
  t.is(await watched.value(), 3);
});

test("counters give nothing at the first look, which is no load and no failure", async (t) => {
  const { watched, look } = watch();
  await look(0, undefined);
  t.is(await watched.value(), 0);
});

test("whoever waits for a change wakes at the next look, or when told to stop", async (t) => {
  const { watched, look } = watch();
  const controller = new AbortController();
  let woken = 0;
  const count = () => woken++;
  const first = watched.changed(controller.signal).then(count);
  await look(1, 1);
  await first;
  t.is(woken, 1);
  const stopped = watched.changed(controller.signal).then(count);
  controller.abort();
  await stopped;
  await watched.changed(controller.signal).then(count);
  t.is(woken, 3);
});
