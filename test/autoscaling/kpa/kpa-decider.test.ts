import test from "ava";
import fc from "fast-check";
import { KpaDecider, type KpaObservation } from "../../../server/autoscaling/kpa/kpa-decider.ts";
import {
  type KpaSettings,
  kpaDefaults,
  kpaTarget,
  panicWindowSeconds,
} from "../../../server/autoscaling/kpa/kpa-settings.ts";

/** Ten a pod, all of it. */
const ten: KpaSettings = { ...kpaDefaults, target: 10, targetUtilizationPercentage: 100 };

function see(stableValue: number, panicValue: number, readyPods: number): KpaObservation {
  return { stableValue, panicValue, readyPods, reachable: true };
}

test("targets: container concurrency, annotation, default, each times the utilization", (t) => {
  const rows: [Partial<KpaSettings>, number, number][] = [
    [{}, 100, 70],
    [{ metric: "rps" }, 200, 140],
    [{ containerConcurrency: 10 }, 10, 7],
    [{ containerConcurrency: 10, target: 5 }, 5, 3.5],
    [{ containerConcurrency: 10, target: 50 }, 10, 7],
    [{ target: 50, targetUtilizationPercentage: 50 }, 50, 25],
    [{ metric: "rps", containerConcurrency: 1, target: 30 }, 30, 21],
    [{ target: 0.01, targetUtilizationPercentage: 1 }, 0.01, 0.01],
  ];
  for (const [given, total, target] of rows) {
    const found = kpaTarget({ ...kpaDefaults, ...given });
    t.is(found.total, total);
    t.true(Math.abs(found.target - target) < 1e-12, JSON.stringify(given));
  }
});

test("the panic window is a tenth of the stable one, in whole seconds, at least one", (t) => {
  const seconds = (stableWindowMs: number, panicWindowPercentage: number): number =>
    panicWindowSeconds({ ...kpaDefaults, stableWindowMs, panicWindowPercentage });
  t.deepEqual([seconds(60_000, 10), seconds(6_000, 10), seconds(30_000, 5)], [6, 1, 2]);
});

test("by hand: pods are demand by target, rounded up, and halve at most", (t) => {
  const decider = new KpaDecider(ten, 0, 1);
  const at = (ms: number, ...seen: Parameters<typeof see>) => decider.decide(ms, see(...seen)).pods;
  t.is(at(2_000, 10, 10, 1), 1);
  t.is(at(4_000, 10.000001, 10, 1), 2);
  t.is(at(6_000, 79, 79, 8), 8);
  // 1 would do, and half of 9 is 4.
  t.is(at(8_000, 3, 3, 9), 4);
  t.is(at(10_000, 0, 0, 1), 0);
});

test("by hand: a revision without pods counts as one, and one that nobody reaches goes at once", (t) => {
  const decider = new KpaDecider({ ...ten, maxScaleUpRate: 10 }, 0, 0);
  t.is(decider.decide(2_000, see(500, 0, 0)).pods, 10);
  t.is(decider.decide(4_000, { ...see(0, 0, 9), reachable: false }).pods, 0);
});

test("panic begins at the threshold, takes no pod away, and ends a stable window after it was last reached", (t) => {
  const decider = new KpaDecider(ten, 0, 1);
  const at = (ms: number, ...seen: Parameters<typeof see>) => decider.decide(ms, see(...seen));
  t.false(at(2_000, 5, 19 / 2, 1).panicking);
  const begun = at(4_000, 5, 20, 1);
  t.true(begun.panicking);
  t.is(begun.pods, 2);
  t.is(at(6_000, 8, 55, 2).pods, 6);
  // Less demand, but no fewer pods; 30 for 6 pods is below the threshold.
  t.is(at(8_000, 8, 30, 6).pods, 6);
  // A stable window is 60 s from 6 s on.
  t.true(at(66_000, 8, 8, 6).panicking);
  const ended = at(68_000, 12, 8, 6);
  t.false(ended.panicking);
  t.is(ended.pods, 3);
});

test("in panic the stable value counts too, if it is larger", (t) => {
  const decider = new KpaDecider(ten, 0, 3);
  const { pods, panicking } = decider.decide(2_000, see(70, 10, 3));
  t.true(panicking);
  t.is(pods, 7);
});

test("an autoscaler that starts with several pods keeps them for a stable window", (t) => {
  const decider = new KpaDecider(ten, 0, 5);
  t.is(decider.decide(2_000, see(1, 1, 5)).pods, 5);
  t.is(decider.decide(60_000, see(1, 1, 5)).pods, 5);
  t.is(decider.decide(62_000, see(1, 1, 5)).pods, 2);
});

test("activation scale raises what demand asks for, and nothing where there is none", (t) => {
  const decider = new KpaDecider({ ...ten, activationScale: 4 }, 0, 0);
  t.is(decider.decide(2_000, see(0, 0, 0)).pods, 0);
  t.is(decider.decide(4_000, see(1, 1, 0)).pods, 4);
  t.is(decider.decide(6_000, see(45, 1, 4)).pods, 5);
});

test("the scale-down delay keeps the most pods of its time", (t) => {
  const decider = new KpaDecider(
    { ...ten, scaleDownDelayMs: 10_000, maxScaleDownRate: 1000 },
    0,
    1,
  );
  const pods = [60, 30, 10, 10, 10, 10, 10, 10].map(
    (value, index) => decider.decide(index * 2_000, see(value, 10, 6)).pods,
  );
  t.deepEqual(pods, [6, 6, 6, 6, 6, 3, 1, 1]);
});

test("excess burst capacity by hand: pods x total - burst - panic value, rounded down", (t) => {
  const ebc = (targetBurstCapacity: number, panic: number, ready: number): number =>
    new KpaDecider({ ...ten, targetBurstCapacity }, 0, 0).decide(0, see(1, panic, ready))
      .excessBurstCapacity;
  t.is(ebc(211, 5.5, 30), 83);
  t.is(ebc(211, 5, 10), -116);
  t.is(ebc(0, 5, 10), 0);
  t.is(ebc(-1, 5, 1000), -1);
});

test("whatever it sees: between the rates, never fewer in panic, and demand is met if the rates allow it", (t) => {
  const value = fc.double({ min: 0, max: 500, noNaN: true });
  const steps = fc.array(fc.record({ stable: value, panic: value, ready: fc.nat(50) }), {
    minLength: 1,
    maxLength: 60,
  });
  fc.assert(
    fc.property(steps, fc.integer({ min: 2, max: 20 }), (seen, maxScaleUpRate) => {
      const decider = new KpaDecider({ ...ten, maxScaleUpRate }, 0, 0);
      let inPanic = false;
      let before = 0;
      seen.forEach(({ stable, panic, ready }, index) => {
        const found = decider.decide(index * 2_000, see(stable, panic, ready));
        const pods = Math.max(1, ready);
        t.is(found.stableDemand, Math.ceil(stable / 10));
        if (inPanic && found.panicking) t.true(found.pods >= before);
        const least = Math.floor(pods / 2);
        const most = Math.ceil(pods * maxScaleUpRate);
        if (!found.panicking) {
          t.is(found.pods, Math.min(Math.max(Math.ceil(stable / 10), least), most));
        } else {
          const wanted = Math.max(Math.ceil(stable / 10), Math.ceil(panic / 10));
          t.true(found.pods >= Math.min(wanted, most));
        }
        inPanic = found.panicking;
        before = found.pods;
      });
    }),
  );
});
