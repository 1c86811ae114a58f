import test from "ava";
import { type KpaSettings, kpaDefaults } from "../../../server/autoscaling/kpa/kpa-settings.ts";
import { ZeroScale } from "../../../server/autoscaling/kpa/zero-scale.ts";

/** Pods at each of the times in s, while nobody wants any. */
function idle(settings: Partial<KpaSettings>, seconds: readonly number[]): number[] {
  const scale = new ZeroScale({ ...kpaDefaults, ...settings }, 0);
  let current = 2;
  return seconds.map((at) => {
    current = scale.apply(at * 1000, 0, current);
    return current;
  });
}

test("the last pod goes after the stable window and the grace time", (t) => {
  t.deepEqual(idle({}, [2, 58, 60, 62, 88, 90]), [1, 1, 1, 1, 1, 0]);
});

test("it stays for the retention where that is longer, and for ever where zero is off", (t) => {
  t.deepEqual(idle({ scaleToZeroRetentionMs: 120_000 }, [60, 90, 178, 180]), [2, 2, 2, 0]);
  t.deepEqual(idle({ scaleToZero: false }, [60, 90, 6000]), [1, 1, 1]);
  t.deepEqual(idle({ minScale: 3 }, [60, 90, 6000]), [3, 3, 3]);
});

test("demand makes it active, and the stable window begins anew", (t) => {
  const scale = new ZeroScale(kpaDefaults, 0);
  t.is(scale.apply(60_000, 0, 1), 1);
  t.is(scale.activity.kind, "inactive");
  t.is(scale.apply(70_000, 4, 1), 4);
  t.deepEqual(scale.activity, { kind: "active", since: 70_000 });
  t.is(scale.apply(129_000, 0, 4), 1);
  t.is(scale.apply(131_000, 0, 1), 1);
  t.is(scale.apply(161_000, 0, 1), 0);
  t.is(scale.apply(163_000, 0, 0), 0);
  t.is(scale.apply(165_000, 1, 0), 1);
});

test("bounds hold whatever is wanted; no maximum is none", (t) => {
  const scale = (given: Partial<KpaSettings>) => new ZeroScale({ ...kpaDefaults, ...given }, 0);
  t.is(scale({ maxScale: 5 }).apply(0, 50, 1), 5);
  t.is(scale({}).apply(0, 5000, 1), 5000);
  t.is(scale({ minScale: 2 }).apply(0, 1, 1), 2);
});
