import test from "ava";
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type MetricsJson, SummedMetrics } from "../../server/cluster/summed-metrics.ts";

async function worker(calls: number, open: number, ready: number): Promise<MetricsJson> {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: "calls_total", help: "c", labelNames: ["code"], registers }).inc(
    { code: "OK" },
    calls,
  );
  new Gauge({ name: "open", help: "o", registers }).set(open);
  new Gauge({ name: "ready", help: "r", aggregator: "min", registers }).set(ready);
  new Histogram({ name: "seconds", help: "s", buckets: [1, 2], registers }).observe(1.5);
  // As it comes over the channel.
  return structuredClone(await registry.getMetricsAsJSON());
}

function value(text: string, series: string): number | undefined {
  const line = text.split("\n").find((candidate) => candidate.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

test("counters, gauges and histograms of the workers are added up; what is ready is ready in all", async (t) => {
  const sums = new SummedMetrics();
  const text = await sums.text([
    { worker: 1, metrics: await worker(3, 10, 1) },
    { worker: 2, metrics: await worker(4, 20, 0) },
  ]);
  t.is(value(text, 'calls_total{code="OK"}'), 7);
  t.is(value(text, "open"), 30);
  t.is(value(text, "ready"), 0);
  t.is(value(text, 'seconds_bucket{le="1"}'), 0);
  t.is(value(text, 'seconds_bucket{le="2"}'), 2);
  t.is(value(text, "seconds_count"), 2);
});

test("a counter never falls when workers end, however many do; a gauge does", async (t) => {
  const sums = new SummedMetrics();
  const steady = await worker(100, 1, 1);
  for (let generation = 1; generation <= 4; generation++) {
    const text = await sums.text([
      { worker: 1, metrics: steady },
      { worker: 2, metrics: await worker(5, 7, 1) },
    ]);
    t.is(value(text, 'calls_total{code="OK"}'), 100 + 5 * generation);
    t.is(value(text, "open"), 8);
    t.is(value(text, "seconds_count"), 1 + generation);
    sums.forget(2);
  }
  const alone = await sums.text([{ worker: 1, metrics: steady }]);
  t.is(value(alone, 'calls_total{code="OK"}'), 120);
  t.is(value(alone, "open"), 1);
});

test("a worker that does not answer once counts with what it said last", async (t) => {
  const sums = new SummedMetrics();
  await sums.text([
    { worker: 1, metrics: await worker(3, 1, 1) },
    { worker: 2, metrics: await worker(4, 1, 1) },
  ]);
  const text = await sums.text([{ worker: 1, metrics: await worker(5, 1, 1) }]);
  t.is(value(text, 'calls_total{code="OK"}'), 9);
});
