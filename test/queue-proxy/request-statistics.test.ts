import test from "ava";
import { RequestStatistics } from "../../server/queue-proxy/request-statistics.ts";

test("concurrency is averaged over time, requests are counted a second", (t) => {
  const statistics = new RequestStatistics(0);
  statistics.begin(0, false);
  statistics.begin(500, true);
  statistics.end(750, true);
  // By hand: 1 for 500 ms, 2 for 250 ms, 1 for 250 ms.
  t.deepEqual(statistics.report(1000), {
    averageConcurrency: (1 * 0.5 + 2 * 0.25 + 1 * 0.25) / 1,
    averageProxiedConcurrency: 0.25,
    requestRate: 2,
    proxiedRequestRate: 1,
  });
  // The next report begins anew, with what still runs.
  statistics.end(1500, false);
  t.deepEqual(statistics.report(3000), {
    averageConcurrency: 0.25,
    averageProxiedConcurrency: 0,
    requestRate: 0,
    proxiedRequestRate: 0,
  });
  t.is(statistics.concurrency, 0);
});

test("a report of no time says nothing", (t) => {
  const statistics = new RequestStatistics(0);
  t.is(statistics.report(0).averageConcurrency, 0);
});
