import test from "ava";
import { latestOnly } from "../../../examples/digits-page/src/latest-only.ts";

function recorded() {
  const started: number[] = [];
  const signals: AbortSignal[] = [];
  const ends: (() => void)[] = [];
  const jobs = latestOnly<number>(async (item, signal) => {
    started.push(item);
    signals.push(signal);
    await new Promise<void>((resolve) => {
      ends.push(resolve);
    });
  });
  /** Ends the n-th job and lets what follows from it happen. */
  async function end(index: number): Promise<void> {
    ends[index]!();
    await new Promise(setImmediate);
  }
  return { jobs, started, signals, end };
}

test("one job runs at a time, and the newest item is next", async (t) => {
  const { jobs, started, end } = recorded();
  for (const item of [1, 2, 3]) jobs.push(item);
  t.deepEqual(started, [1]);
  await end(0);
  t.deepEqual(started, [1, 3]);
  await end(1);
  jobs.push(4);
  t.deepEqual(started, [1, 3, 4]);
});

test("drop stops the running job and forgets what waits", async (t) => {
  const { jobs, started, signals, end } = recorded();
  jobs.push(1);
  jobs.push(2);
  jobs.drop();
  t.true(signals[0]!.aborted);
  jobs.push(3);
  t.deepEqual(started, [1, 3]);
  jobs.push(4);
  // The dropped job ends late; it must not start the next one beside the running one.
  await end(0);
  t.deepEqual(started, [1, 3]);
  await end(1);
  t.deepEqual(started, [1, 3, 4]);
});
