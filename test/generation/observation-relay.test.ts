import test from "ava";
import fc from "fast-check";
import type { GenerationObservation } from "../../server/generation/generation-observation.ts";
import { createGenerationStatistics } from "../../server/generation/generation-statistics.ts";
import { createObservationRelay } from "../../server/generation/observation-relay.ts";
import { virtualClock } from "../support/virtual-clock.ts";

const seconds = fc.array(fc.double({ min: 0, max: 100, noNaN: true }), { maxLength: 3 });
const observation: fc.Arbitrary<GenerationObservation> = fc.record({
  running: fc.nat(8),
  waiting: fc.nat(8),
  slots: fc.constant(8),
  maxWaiting: fc.constant(8),
  cacheUsage: fc.double({ min: 0, max: 1, noNaN: true }),
  promptTokens: fc.nat(64),
  generatedTokens: fc.nat(8),
  timesToFirstToken: seconds,
  interTokenLatencies: seconds,
  ended: fc.array(
    fc.record({
      reason: fc.constantFrom("stop", "length", "cancelled", "error"),
      seconds: fc.nat(50),
    }),
    { maxLength: 3 },
  ),
});

test("what is passed on adds up to what was observed, at most once in 50 ms", (t) => {
  fc.assert(
    fc.property(fc.array(fc.tuple(observation, fc.nat(40)), { minLength: 1 }), (observations) => {
      const clock = virtualClock();
      const direct = createGenerationStatistics();
      const relayed = createGenerationStatistics();
      const passedAt: number[] = [];
      const relay = createObservationRelay(clock.after, (each) => {
        passedAt.push(clock.now());
        relayed.add(each);
      });
      for (const [each, ms] of observations) {
        direct.add(each);
        relay.observe(each);
        clock.advance(ms);
      }
      clock.advance(50);
      const apart = passedAt.every((at, index) => index === 0 || at - passedAt[index - 1]! >= 50);
      const { histograms: given, ...counts } = relayed.snapshot();
      const { histograms: expected, ...expectedCounts } = direct.snapshot();
      t.deepEqual(counts, expectedCounts);
      for (const name of Object.keys(given) as (keyof typeof given)[]) {
        t.deepEqual(given[name].counts, expected[name].counts);
        t.true(Math.abs(given[name].sum - expected[name].sum) < 1e-6);
      }
      return apart && clock.due().length === 0;
    }),
  );
});

test("flush passes on what there is, once", (t) => {
  const clock = virtualClock();
  const passed: number[] = [];
  const relay = createObservationRelay(clock.after, ({ running }) => passed.push(running));
  relay.flush();
  const [one] = fc.sample(observation, 1);
  relay.observe({ ...one!, running: 3 });
  relay.flush();
  t.deepEqual(passed, [3]);
  clock.advance(100);
  t.deepEqual(passed, [3]);
});
