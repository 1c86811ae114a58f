import test from "ava";
import { KedaDecider, kedaDefaults } from "../../../server/autoscaling/keda/keda-decider.ts";

/** Replicas second by second; pods are ready at once. */
function follow(
  decider: KedaDecider,
  begin: number,
  seconds: number,
  valueAt: (s: number) => number,
) {
  const changes: [second: number, replicas: number][] = [];
  let replicas = begin;
  for (let second = 0; second <= seconds; second++) {
    const next = decider.decide(second * 1000, valueAt(second), replicas, replicas).replicas;
    if (next !== replicas) changes.push([second, next]);
    replicas = next;
  }
  return changes;
}

test("from none to one at the poll that sees activity, then by the HPA", (t) => {
  const decider = new KedaDecider({ ...kedaDefaults, target: 10 }, 0);
  const changes = follow(decider, 0, 100, (second) => (second < 40 ? 0 : 100));
  t.deepEqual(changes, [
    [60, 1],
    [61, 5],
    [76, 10],
  ]);
});

test("to none when the cooldown has passed since the last activity", (t) => {
  const decider = new KedaDecider({ ...kedaDefaults, target: 10 }, 0);
  const changes = follow(decider, 3, 700, (second) => (second < 100 ? 30 : 0));
  // The HPA keeps its largest recommendation for 300 s; the last poll that saw activity was at 90 s.
  t.deepEqual(changes.at(-1), [420, 0]);
});

test("at or below the activation threshold is no activity", (t) => {
  const decider = new KedaDecider({ ...kedaDefaults, target: 10, activationThreshold: 5 }, 0);
  t.deepEqual(
    follow(decider, 0, 300, () => 5),
    [],
  );
});
