import test from "ava";
import fc from "fast-check";
import { kpaDefaults } from "../../../server/autoscaling/kpa/kpa-settings.ts";
import { simulationChart } from "../../../server/autoscaling/simulation/chart.ts";
import { parseLoad } from "../../../server/autoscaling/simulation/load-curve.ts";
import {
  type SimulationOptions,
  type SimulationResult,
  simulate,
} from "../../../server/autoscaling/simulation/simulate.ts";
import type { PodModel } from "../../../server/autoscaling/simulation/simulated-pod.ts";
import {
  fixedScaler,
  kpaScaler,
  type SimulatedScaler,
} from "../../../server/autoscaling/simulation/simulated-scaler.ts";
import { slices, summarize } from "../../../server/autoscaling/simulation/summary.ts";
import { createRandom } from "../../../server/random/random.ts";

const pods: PodModel = {
  startMs: 10_000,
  serviceMs: 50,
  distribution: "exponential",
  parallelism: 1,
  concurrency: 1,
};

function run(
  load: string,
  scaler: SimulatedScaler,
  given: Partial<SimulationOptions> = {},
): SimulationResult {
  return simulate({
    load: parseLoad(load),
    scaler,
    pods,
    maxWaiting: 100_000,
    timeoutMs: 300_000,
    arrivals: createRandom(1n),
    services: createRandom(2n),
    ...given,
  });
}

function near(
  t: { true(value: boolean, message?: string): void },
  given: number,
  expected: number,
  share: number,
) {
  t.true(Math.abs(given - expected) <= share * expected, `${given} is not ${expected}`);
}

function meanLatency({ seconds }: SimulationResult): number {
  const all = seconds.flatMap(({ latencies }) => [...latencies]);
  return all.reduce((sum, each) => sum + each, 0) / all.length;
}

test("one pod is an M/M/1 queue: 1 / (mu - lambda), and by Little's law lambda times that are there", (t) => {
  // mu is 20 a second, lambda 14.
  const result = run("14:5h", fixedScaler(1));
  near(t, meanLatency(result), 1000 / (20 - 14), 0.05);
  const { concurrency } = summarize(result.seconds);
  near(t, concurrency.mean, 14 / (20 - 14), 0.05);
});

test("requests that all take the same are an M/D/1 queue: half the waiting", (t) => {
  const result = run("14:5h", fixedScaler(1), { pods: { ...pods, distribution: "fixed" } });
  const load = 14 / 20;
  near(t, meanLatency(result), 50 * (1 + load / (2 * (1 - load))), 0.03);
});

test("four pods with one line are an M/M/4 queue: Erlang's C", (t) => {
  const result = run("64:3h", fixedScaler(4));
  const offered = 64 / 20;
  const terms = [1, offered, offered ** 2 / 2, offered ** 3 / 6];
  const full = (offered ** 4 / 24) * (4 / (4 - offered));
  const waits = full / (terms.reduce((a, b) => a + b) + full);
  near(t, meanLatency(result), 50 + (waits * 1000) / (4 * 20 - 64), 0.04);
});

test("a pod that computes four at once is the same queue", (t) => {
  const four = { pods: { ...pods, parallelism: 4, concurrency: 0 } };
  const one = run("64:1h", fixedScaler(1), four);
  near(t, meanLatency(one), meanLatency(run("64:1h", fixedScaler(4))), 0.001);
});

test("the same seed brings the same requests to every autoscaler", (t) => {
  const came = (result: SimulationResult): number[] => result.seconds.map((second) => second.came);
  const fixed = run("5..50:3m", fixedScaler(2));
  t.deepEqual(came(run("5..50:3m", kpaScaler(kpaDefaults))), came(fixed));
  near(t, summarize(fixed.seconds).came, 27.5 * 180, 0.05);
});

test("nothing is lost: each request is answered, refused or out of time, whatever the autoscaler does", (t) => {
  const phases = fc.array(
    fc.tuple(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 1, max: 40 })),
    { minLength: 1, maxLength: 5 },
  );
  const wanted = fc.array(fc.nat(6), { minLength: 1, maxLength: 10 });
  const model = fc.record({
    concurrency: fc.nat(4),
    parallelism: fc.integer({ min: 1, max: 3 }),
    maxWaiting: fc.nat(50),
    timeoutMs: fc.integer({ min: 10, max: 20_000 }),
  });
  fc.assert(
    fc.property(phases, wanted, model, (load, targets, { maxWaiting, timeoutMs, ...given }) => {
      const scaler: SimulatedScaler = {
        name: "whim",
        initial: targets[0]!,
        see: ({ nowMs }) => ({
          // At the end there are pods for whatever still waits.
          replicas: nowMs > 200_000 ? 3 : targets[Math.floor(nowMs / 5000) % targets.length]!,
          why: "so it is",
        }),
      };
      const text = `${load.map(([rate, time]) => `${rate}:${time}s`).join(",")},0:600s`;
      const result = run(text, scaler, { pods: { ...pods, ...given }, maxWaiting, timeoutMs });
      const { came, answered, refused, timedOut } = summarize(result.seconds);
      t.is(answered + refused + timedOut, came);
      for (const { ready, waiting, latencies } of result.seconds) {
        t.true(ready <= 6);
        t.true(waiting <= maxWaiting);
        t.true(latencies.every((ms) => ms > 0));
      }
    }),
    { numRuns: 40 },
  );
});

test("through the KPA: a first pod for the first request, more after the panic window, none at the end", (t) => {
  const settings = { ...kpaDefaults, containerConcurrency: 1, initialScale: 0 };
  const result = run("0:20s,10:3m,0:5m", kpaScaler(settings));
  const { seconds, coldRequests } = result;
  t.is(seconds[19]!.wanted, 0);
  t.true(coldRequests > 50 && coldRequests < 150, `${coldRequests}`);
  const firstReady = seconds.findIndex(({ ready }) => ready > 0);
  // The decision comes within two seconds of the first request, the pods ten seconds later.
  t.true(firstReady >= 30 && firstReady <= 33, `${firstReady}`);
  // The last request came at 200 s: the stable window, then the grace time.
  const lastPod = seconds.findLastIndex(({ wanted }) => wanted > 0);
  t.true(lastPod >= 200 + 60 + 30 - 4 && lastPod <= 200 + 60 + 30 + 4, `${lastPod}`);
  const { answered, came } = summarize(seconds);
  t.is(answered, came);
});

test("slices are the whole, cut", (t) => {
  const result = run("20:95s", fixedScaler(2));
  const parts = slices(result, 10);
  t.deepEqual(
    parts.map(({ length }) => length),
    [...new Array(9).fill(10), 5],
  );
  const sum = parts.reduce((total, { came }) => total + came, 0);
  t.is(sum, summarize(result.seconds).came);
});

test("the chart has a line for each autoscaler and no text that is markup", (t) => {
  const results = [run("20:1m,0:2m", fixedScaler(2)), run("20:1m,0:2m", kpaScaler(kpaDefaults))];
  const svg = simulationChart('a<b>&"c"', results);
  t.true(svg.includes("a&lt;b&gt;&amp;"));
  t.is(svg.match(/<path /g)?.length, 1 + 2 + 3 * 4);
  t.false(/NaN|Infinity|undefined/.test(svg));
});
