import test from "ava";
import { usableCores } from "../../server/cluster/worker-count.ts";
import { restartDelay } from "../../server/lifecycle/restart-delay.ts";

test("the quota of the cgroup bounds the cores, rounded up", (t) => {
  const withQuota = (text: string): number => usableCores(8, () => text);
  t.is(withQuota("max 100000\n"), 8);
  t.is(withQuota("200000 100000\n"), 2);
  t.is(withQuota("250000 100000\n"), 3);
  t.is(withQuota("10000 100000\n"), 1);
  t.is(withQuota("6400000 100000\n"), 8);
  t.is(withQuota("nonsense"), 8);
  t.is(
    usableCores(3, () => {
      throw new Error("no such file");
    }),
    3,
  );
});

test("a restart waits between half of the delay and all of it", (t) => {
  t.is(restartDelay(1, 0), 50);
  t.is(restartDelay(1, 1), 100);
  t.is(restartDelay(3, 0.5), 300);
  t.is(restartDelay(60, 1), 30_000);
});
