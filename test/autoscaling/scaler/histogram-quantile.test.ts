import test from "ava";
import { histogramQuantile } from "../../../server/autoscaling/scaler/histogram-quantile.ts";

const quantile = (...args: Parameters<typeof histogramQuantile>): number =>
  Number(histogramQuantile(...args)?.toFixed(12));

const buckets = [
  { bound: Number.POSITIVE_INFINITY, count: 100 },
  { bound: 0.1, count: 20 },
  { bound: 0.5, count: 60 },
  { bound: 1, count: 90 },
];

test("by hand: linear within the bucket, from 0 in the first, the largest bound above all", (t) => {
  t.is(quantile(buckets, 0.1), 0.05);
  t.is(quantile(buckets, 0.2), 0.1);
  t.is(quantile(buckets, 0.4), 0.3);
  t.is(quantile(buckets, 0.75), 0.75);
  t.is(quantile(buckets, 0.95), 1);
});

test("buckets of one bound add up; nothing comes of nothing", (t) => {
  t.is(quantile([...buckets, ...buckets], 0.4), 0.3);
  t.is(histogramQuantile([], 0.5), undefined);
  t.is(histogramQuantile([{ bound: Infinity, count: 0 }], 0.5), undefined);
  t.is(histogramQuantile([{ bound: 1, count: 5 }], 0.5), undefined);
});
