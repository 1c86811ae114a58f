import test from "ava";
import { HpaDecider } from "../../../server/autoscaling/hpa/hpa-decider.ts";
import {
  type HpaMetric,
  hpaDefaults,
  hpaSyncMs,
} from "../../../server/autoscaling/hpa/hpa-settings.ts";

function decider(metric: HpaMetric, maxReplicas = 100): HpaDecider {
  return new HpaDecider({ ...hpaDefaults, metric, maxReplicas });
}

/** Replicas after each sync, where every pod is ready at once. */
function follow(hpa: HpaDecider, begin: number, values: readonly number[]): number[] {
  let replicas = begin;
  return values.map((value, index) => {
    replicas = hpa.decide(index * hpaSyncMs, { value, readyPods: replicas, replicas }).replicas;
    return replicas;
  });
}

const use = { kind: "utilization", target: 50 } as const;
const each = { kind: "average-value", target: 10 } as const;

test("by hand: ready pods times the ratio, rounded up, and kept within a tenth", (t) => {
  const once = (readyPods: number, value: number): number =>
    decider(use).decide(0, { value, readyPods, replicas: readyPods }).demand;
  t.is(once(4, 54), 4);
  t.is(once(4, 45), 4);
  t.is(once(4, 56), 5);
  t.is(once(10, 25), 5);
  t.is(once(3, 50 * 1.2), 4);
  // In doubles, as Kubernetes computes: 1 - 1.1 is a little more than 0.1 off.
  t.is(once(4, 55), 5);
});

test("by hand: a value of all pods is divided by what each should have", (t) => {
  const once = (replicas: number, value: number): number =>
    decider(each).decide(0, { value, readyPods: replicas, replicas }).demand;
  t.is(once(5, 54), 5);
  t.is(once(5, 56), 6);
  t.is(once(5, 0), 0);
  t.is(once(1, 101), 11);
});

test("up: four pods or twice as many within 15 s, whichever is more", (t) => {
  t.deepEqual(follow(decider(each), 1, [1000, 1000, 1000, 1000]), [5, 10, 20, 40]);
  t.deepEqual(follow(decider(each, 12), 1, [1000, 1000, 1000]), [5, 10, 12]);
});

test("down: not before the largest recommendation of five minutes has passed, then at once", (t) => {
  const values = [200, ...new Array(21).fill(20)];
  const replicas = follow(decider(each), 20, values);
  // 300 s are 20 syncs.
  t.deepEqual(new Set(replicas.slice(0, 20)), new Set([20]));
  t.deepEqual(replicas.slice(20), [2, 2]);
});

test("without a metric nothing changes", (t) => {
  const { replicas } = decider(use).decide(0, { value: undefined, readyPods: 3, replicas: 3 });
  t.is(replicas, 3);
});

test("policies count what was done within their period", (t) => {
  const hpa = new HpaDecider({
    ...hpaDefaults,
    metric: each,
    maxReplicas: 100,
    scaleUp: { stabilizationMs: 0, policies: [{ kind: "pods", value: 2, periodMs: 60_000 }] },
    scaleDown: { stabilizationMs: 0, policies: [{ kind: "percent", value: 50, periodMs: 60_000 }] },
  });
  t.deepEqual(follow(hpa, 4, [500, 500, 500, 500, 500]), [6, 6, 6, 6, 8]);
  let replicas = 8;
  const down = [5, 6, 7, 8, 9].map((index) => {
    const seen = { value: 0, readyPods: replicas, replicas };
    replicas = hpa.decide(index * hpaSyncMs, seen).replicas;
    return replicas;
  });
  t.deepEqual(down, [4, 4, 4, 4, 2]);
});
