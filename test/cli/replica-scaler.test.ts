import test from "ava";
import { Registry } from "prom-client";
import { parseReplicas } from "../../server/cli/replica-bounds.ts";
import { createReplicaScaler, type Replicas } from "../../server/cli/replica-scaler.ts";
import type { WorkerLoad } from "../../server/cli/worker-questions.ts";
import { recordingLog } from "../support/silent-log.ts";

const values = { "replica-target": 10, "replica-window": 6_000, "replica-idle-time": 2_000 };

/** Replicas of which each is ready at once, and calls as a test says. */
function start(least: number, most: number) {
  let tick = (): void => {};
  let now = 0;
  const load: WorkerLoad & { inFlight: number; calls: number; callMs: number } = {
    inFlight: 0,
    calls: 0,
    callMs: 0,
  };
  const scaler = createReplicaScaler(values, { least, most }, new Registry(), recordingLog(), {
    now: () => now,
    every(_ms, action) {
      tick = action;
      return () => {};
    },
  });
  const stats = { wanted: scaler.initial, serving: scaler.initial, waitingConnections: 0 };
  const replicas: Replicas = {
    stats,
    gather: async () => ({
      answers: stats.serving > 0 ? [{ worker: 1, answer: { ...load } }] : [],
      missing: 0,
    }),
    resize(count) {
      stats.wanted = count;
      stats.serving = count;
    },
  };
  scaler.follow(replicas);
  /** Seconds in which so many calls are answered at once on average, or are in flight at the end. */
  const pass = async (seconds: number, { answered = 0, inFlight = 0 }) => {
    for (let second = 0; second < seconds; second++) {
      now += 1000;
      load.callMs += answered * 1000;
      load.calls += answered * 20;
      load.inFlight = inFlight;
      tick();
      // The look goes on after what it asked for.
      await new Promise(setImmediate);
    }
    return stats.wanted;
  };
  return { scaler, replicas, stats, pass };
}

test("replicas follow the calls: one for each seven at once", async (t) => {
  const { pass } = start(1, 8);
  t.is(await pass(2, { answered: 3 }), 1);
  t.is(await pass(8, { answered: 20 }), 3);
  // In panic none goes, for a window after it was last reached.
  t.is(await pass(2, { answered: 8 }), 3);
  t.is(await pass(12, { answered: 8 }), 2);
  t.is(await pass(12, { answered: 500 }), 8);
});

test("calls that are not answered yet count too", async (t) => {
  const { pass } = start(1, 8);
  t.is(await pass(8, { inFlight: 30 }), 5);
});

test("to none after window and idle time, and back for a connection that waits", async (t) => {
  const { scaler, replicas, stats, pass } = start(0, 4);
  t.is(await pass(6, { answered: 1 }), 1);
  t.is(await pass(6, {}), 1);
  t.is(await pass(6, {}), 0);
  t.is(await pass(60, {}), 0);
  stats.waitingConnections = 1;
  scaler.onWaiting(replicas);
  t.is(stats.wanted, 1);
  stats.waitingConnections = 0;
  // It stays for a stable window, whatever comes.
  t.is(await pass(6, {}), 1);
});

test("bounds are read, and what is none is refused", (t) => {
  t.deepEqual(parseReplicas("0..4"), { least: 0, most: 4 });
  t.is(parseReplicas(undefined), undefined);
  for (const text of ["4", "4..2", "0..0", "-1..2", "1..257", "a..b", "1...2"]) {
    t.throws(() => parseReplicas(text), { message: /expected LEAST..MOST such as 0..4/ }, text);
  }
});
