import test from "ava";
import {
  briefByteLimit,
  inlineByteLimit,
  isPlaced,
  placedByteLimit,
} from "../../../../server/predictor/engines/onnx/placement.ts";

/** A sample by its time in the model and its hop. */
const sample = (bytes: number, inferNs: number, hopNs: number) => ({
  bytes,
  inferNs,
  totalNs: inferNs + hopNs,
});

test("a model slower than the hop on its smallest input never runs inline", (t) => {
  t.is(inlineByteLimit([sample(16, 50_000, 30_000)]), 0);
});

test("with one sample the limit is its size", (t) => {
  t.is(inlineByteLimit([sample(16, 10_000, 30_000)]), 16);
});

test("the limit is where the time in the model meets a hop that does not grow", (t) => {
  // 10 ns a byte from 11 000 ns at 100 bytes; the hop of 30 000 ns is reached 1 900 bytes further.
  t.is(inlineByteLimit([sample(100, 11_000, 30_000), sample(1000, 20_000, 30_000)]), 2000);
});

test("a hop that grows with the size moves the limit out", (t) => {
  // 10 ns a byte against 5 ns a byte: the 19 000 ns between them are used up after 3 800 bytes.
  t.is(inlineByteLimit([sample(100, 11_000, 30_000), sample(1100, 21_000, 35_000)]), 3900);
});

test("where the hop grows faster than the model, a call of 1 ms is the limit", (t) => {
  // 1 ns a byte from 10 000 ns: 1 000 000 ns are reached 990 000 bytes further.
  t.is(inlineByteLimit([sample(0, 10_000, 30_000), sample(1000, 11_000, 32_000)]), 990_000);
});

test("a model that seems to take no time for more bytes is held to the speed of memory", (t) => {
  // 0.1 ns a byte from 11 000 ns, against a hop of 30 000 ns that does not grow.
  t.is(inlineByteLimit([sample(100, 11_000, 30_000), sample(1000, 10_900, 30_000)]), 190_100);
});

test("a brief call takes 1 ms, by the line through the first and the last sample", (t) => {
  // 10 ns a byte from 10 000 ns at 100 bytes: 990 000 ns are reached 99 000 bytes further.
  t.is(briefByteLimit([sample(100, 10_000, 0), sample(1100, 20_000, 0)]), 99_100);
  t.is(briefByteLimit([sample(100, 10_000, 0)]), 100);
  t.is(briefByteLimit([sample(100, 1_000_001, 0), sample(200, 1_000_001, 0)]), 0);
});

test("with one core calls of up to 1 ms stay where the sockets are; with several the hop decides", (t) => {
  // Far slower than the hop, and below 1 ms.
  const slow = [sample(600_000, 620_000, 100_000)];
  t.is(placedByteLimit(2, slow), 0);
  t.is(placedByteLimit(1, slow), 600_000);
  // 1 ns a byte: 380 000 ns are left at 600 000 bytes.
  t.is(placedByteLimit(1, [...slow, sample(1_600_000, 1_620_000, 100_000)]), 980_000);
  t.is(placedByteLimit(1, [sample(16, 1_100_000, 100_000)]), 0);
});

test("no larger sample is tried once a call is slower than the hop, or with one core than 1 ms", (t) => {
  const slow = [sample(600_000, 620_000, 100_000)];
  t.true(isPlaced(2, slow));
  t.false(isPlaced(1, slow));
  t.true(isPlaced(1, [...slow, sample(1_600_000, 1_620_000, 100_000)]));
  t.false(isPlaced(2, [sample(16, 10_000, 30_000), sample(1024, 2_000_000, 30_000)]));
  t.true(isPlaced(1, [sample(16, 1_100_000, 100_000)]));
});
