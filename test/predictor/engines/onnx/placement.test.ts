import test from "ava";
import { inlineByteLimit } from "../../../../server/predictor/engines/onnx/placement.ts";

test("a model slower than the hop on its smallest input never runs inline", (t) => {
  t.is(inlineByteLimit([{ bytes: 16, inferNs: 50_000, totalNs: 80_000 }]), 0);
});

test("with one sample the limit is its size", (t) => {
  t.is(inlineByteLimit([{ bytes: 16, inferNs: 10_000, totalNs: 40_000 }]), 16);
});

test("the limit is where the line through the samples meets the hop", (t) => {
  // 10 ns a byte from 10 000 ns at 0 bytes; the hop is 30 000 ns, reached at 2 000 bytes.
  const samples = [
    { bytes: 100, inferNs: 11_000, totalNs: 41_000 },
    { bytes: 1000, inferNs: 20_000, totalNs: 60_000 },
  ];
  t.is(inlineByteLimit(samples), 2000);
});

test("where a larger input is no slower, the limit is what was measured", (t) => {
  const samples = [
    { bytes: 100, inferNs: 11_000, totalNs: 41_000 },
    { bytes: 1000, inferNs: 10_900, totalNs: 60_000 },
  ];
  t.is(inlineByteLimit(samples), 1000);
});
