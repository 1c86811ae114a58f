import test from "ava";
import fc from "fast-check";
import { EventHeap } from "../../../server/autoscaling/simulation/event-heap.ts";
import {
  AdaptiveLimit,
  adaptiveDefaults,
} from "../../../server/queue-proxy/queue/adaptive-limit.ts";
import { createRandom, type Random } from "../../../server/random/random.ts";

interface Server {
  /** Calls that it works on at once; others wait in it. */
  readonly cores: number;
  readonly serviceMs: () => number;
}

/** Clients that always want more, before a limit, before a server; figures are of the second half. */
function overload(limit: AdaptiveLimit, server: Server, fromMs: number, forMs: number) {
  const events = new EventHeap<{ at: number; sentAt: number }>();
  const inServer: number[] = [];
  let now = fromMs;
  let running = 0;
  let working = 0;
  let answered = 0;
  let sumMs = 0;
  let sumLimit = 0;
  const begin = (sentAt: number): void => {
    working++;
    events.push({ at: now + server.serviceMs(), sentAt });
  };
  const send = (): void => {
    while (running < limit.limit) {
      running++;
      if (working < server.cores) begin(now);
      else inServer.push(now);
    }
  };
  send();
  while (now < fromMs + forMs) {
    const { at, sentAt } = events.pop()!;
    now = at;
    if (now > fromMs + forMs / 2) {
      answered++;
      sumMs += now - sentAt;
      sumLimit += limit.limit;
    }
    limit.served(now - sentAt, running, now);
    running--;
    working--;
    const next = inServer.shift();
    if (next !== undefined) begin(next);
    send();
  }
  return {
    rate: answered / (forMs / 2000),
    meanMs: sumMs / answered,
    meanLimit: sumLimit / answered,
  };
}

const exponential = (random: Random, mean: number) => () => -Math.log(1 - random.next()) * mean;

for (const [what, service] of [
  ["of equal length", () => () => 10],
  ["as chance has them", (random: Random) => exponential(random, 10)],
] as const) {
  test(`calls ${what}: a server of eight cores is kept busy, and calls do not wait long in it`, (t) => {
    const limit = new AdaptiveLimit(adaptiveDefaults, 0);
    const server = { cores: 8, serviceMs: service(createRandom(1n)) };
    const { rate, meanMs, meanLimit } = overload(limit, server, 0, 60_000);
    // It can do 800 a second; without a limit a thousand callers would wait 1250 ms each.
    t.true(rate > 0.93 * 800, `${rate}`);
    t.true(meanMs < 30, `${meanMs}`);
    t.true(meanLimit >= 8 && meanLimit < 22, `${meanLimit}`);
  });
}

test("a server that becomes slower, or faster, is found out", (t) => {
  const limit = new AdaptiveLimit(adaptiveDefaults, 0);
  let ms = 10;
  const server = { cores: 8, serviceMs: () => ms };
  overload(limit, server, 0, 60_000);
  ms = 40;
  const slower = overload(limit, server, 60_000, 120_000);
  t.true(slower.rate > 0.85 * 200, `${slower.rate}`);
  t.true(slower.meanMs < 120, `${slower.meanMs}`);
  ms = 5;
  const faster = overload(limit, server, 180_000, 120_000);
  t.true(faster.rate > 0.9 * 1600, `${faster.rate}`);
  t.true(faster.meanMs < 15, `${faster.meanMs}`);
});

test("few calls do not raise the limit, and are taken as what a call takes by itself", (t) => {
  const limit = new AdaptiveLimit(adaptiveDefaults, 0);
  for (let now = 0; now < 100_000; now += 20) limit.served(10, 1, now);
  t.is(limit.limit, 20);
});

test("the limit stays within its bounds, whatever calls take", (t) => {
  const sample = fc.record({
    ms: fc.double({ min: 0.01, max: 10_000, noNaN: true }),
    running: fc.integer({ min: 1, max: 2000 }),
    pause: fc.integer({ min: 0, max: 1000 }),
  });
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 10 }),
      fc.integer({ min: 10, max: 500 }),
      fc.array(sample, { maxLength: 300 }),
      (least, most, samples) => {
        const limit = new AdaptiveLimit({ least, most, tolerance: 0.25 }, 0);
        let now = 0;
        for (const { ms, running, pause } of samples) {
          now += pause;
          limit.served(ms, running, now);
          t.true(limit.limit >= least && limit.limit <= most);
          t.true(Number.isInteger(limit.limit));
        }
      },
    ),
  );
});
