import test from "ava";
import {
  InlineJudge,
  slowestInlineNs,
} from "../../../../server/predictor/engines/onnx/inline-judge.ts";

/** Calls that take a time by the clock and one on the processor; how many until they are too slow. */
function callsUntilTooSlow(tookNs: number, cpuMicros: number, most = 1000): number | undefined {
  let cpu = 0;
  const judge = new InlineJudge(slowestInlineNs, () => cpu);
  for (let call = 1; call <= most; call++) {
    const begun = judge.begin();
    cpu += cpuMicros;
    if (judge.tooSlow(tookNs, begun)) return call;
  }
  return undefined;
}

test("calls that compute for too long are too slow, and not after one of them", (t) => {
  // A mean of 1/16 of 16 ms reaches 2 ms with the third; then two calls of 16 ms and more are enough.
  t.is(callsUntilTooSlow(100_000_000, 100_000), 6);
  const calls = callsUntilTooSlow(3_000_000, 3_000);
  t.true(calls !== undefined && calls > 6 && calls < 40, `${calls}`);
});

test("calls that wait for a processor are not, however long", (t) => {
  t.is(callsUntilTooSlow(100_000_000, 10), undefined);
});

test("calls in time are not, and the processor time is not asked for", (t) => {
  const judge = new InlineJudge(slowestInlineNs, () => {
    throw new Error("asked");
  });
  for (let call = 0; call < 100; call++) t.false(judge.tooSlow(1_900_000, judge.begin()));
  // Two stalls among many calls.
  t.false(judge.tooSlow(500_000_000, judge.begin()));
});

test("a model that was suspected in vain is judged anew", (t) => {
  let cpu = 0;
  const judge = new InlineJudge(slowestInlineNs, () => cpu);
  const call = (tookNs: number, cpuMicros: number): boolean => {
    const begun = judge.begin();
    cpu += cpuMicros;
    return judge.tooSlow(tookNs, begun);
  };
  for (let calls = 0; calls < 200; calls++) t.false(call(50_000_000, 5));
  let until = 0;
  while (!call(50_000_000, 50_000)) until++;
  t.true(until < 40, `${until}`);
});
