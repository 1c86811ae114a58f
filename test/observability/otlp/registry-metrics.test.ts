import test from "ava";
import fc from "fast-check";
import { Counter, Gauge, Histogram, Registry, Summary } from "prom-client";
import { BoundHistogram } from "../../../server/observability/bound-metrics.ts";
import { registryMetrics } from "../../../server/observability/otlp/registry-metrics.ts";

const period = { startTime: [1, 0], endTime: [2, 0] } as {
  startTime: [number, number];
  endTime: [number, number];
};

test("counters, gauges and histograms become sums, gauges and histograms", async (t) => {
  const registry = new Registry();
  const registers = [registry];
  new Counter({ name: "calls_total", help: "Calls", registers, labelNames: ["code"] }).inc(
    { code: "a" },
    3,
  );
  new Gauge({ name: "depth", help: "Depth", registers }).set(-2);
  const histogram = new Histogram({
    name: "time_seconds",
    help: "Time",
    registers,
    buckets: [1, 2],
  });
  for (const value of [0.5, 1, 1.5, 3]) histogram.observe(value);
  new Summary({ name: "left_out", help: "No form of OpenTelemetry", registers }).observe(1);
  const [calls, depth, time, ...rest] = await registryMetrics(registry, {}, period);
  t.is(rest.length, 0);
  t.like(calls, { descriptor: { name: "calls_total", unit: "" }, isMonotonic: true });
  t.deepEqual(calls!.dataPoints, [{ ...period, attributes: { code: "a" }, value: 3 }]);
  t.deepEqual(depth!.dataPoints, [{ ...period, attributes: {}, value: -2 }]);
  t.is(time!.descriptor.unit, "s");
  t.deepEqual(time!.dataPoints, [
    {
      ...period,
      attributes: {},
      // At most 1: two; at most 2: one more; beyond: one.
      value: { buckets: { boundaries: [1, 2], counts: [2, 1, 1] }, sum: 6, count: 4 },
    },
  ]);
});

test("names, units and attributes are those that are asked for", async (t) => {
  const registry = new Registry();
  const labelNames = ["code", "more", "whole", "empty", "other"];
  new Counter({ name: "calls_total", help: "Calls", registers: [registry], labelNames }).inc({
    code: "200",
    more: "1",
    whole: "true",
    empty: "",
    other: "o",
  });
  const names = {
    calls_total: {
      name: "the.calls",
      unit: "{call}",
      attributes: {
        code: { name: "status.code", kind: "number" },
        more: { name: "the.more", kind: "text" },
        whole: { name: "is.whole", kind: "truth" },
      },
    },
  } as const;
  const [calls] = await registryMetrics(registry, names, period);
  t.like(calls!.descriptor, { name: "the.calls", unit: "{call}" });
  t.deepEqual(calls!.dataPoints[0]!.attributes, {
    "status.code": 200,
    "the.more": "1",
    "is.whole": true,
    other: "o",
  });
});

test("a histogram has each observation in the bucket whose bounds hold it", async (t) => {
  const bounds = [0, 1, 10, 100];
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({
          value: fc.double({ min: -1, max: 200, noNaN: true }),
          label: fc.constantFrom("a", "b"),
        }),
      ),
      async (observations) => {
        const registry = new Registry();
        const histogram = new BoundHistogram({ name: "h", help: "H", buckets: bounds, registry });
        for (const { value, label } of observations) histogram.bind({ label }).observe(value);
        const [metric] = await registryMetrics(registry, {}, period);
        for (const { attributes, value } of metric!.dataPoints) {
          const mine = observations.filter(({ label }) => label === attributes.label);
          const { buckets, count } = value as {
            buckets: { boundaries: number[]; counts: number[] };
            count: number;
          };
          t.deepEqual(buckets.boundaries, bounds);
          t.is(count, mine.length);
          t.deepEqual(
            buckets.counts,
            [...bounds, Number.POSITIVE_INFINITY].map(
              (upper, index) =>
                mine.filter(
                  (one) =>
                    one.value <= upper &&
                    one.value > (bounds[index - 1] ?? Number.NEGATIVE_INFINITY),
                ).length,
            ),
          );
        }
      },
    ),
    { numRuns: 50 },
  );
});
