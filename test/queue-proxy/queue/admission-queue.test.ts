import test from "ava";
import fc from "fast-check";
import { AdmissionQueue } from "../../../server/queue-proxy/queue/admission-queue.ts";
import {
  breakerPolicy,
  type ClassPolicy,
  plainClass,
  type QueuePolicy,
} from "../../../server/queue-proxy/queue/queue-policy.ts";
import { SimulatedCall } from "./simulated-call.ts";

const infinity = Number.POSITIVE_INFINITY;

/** A queue whose clock stands until it is set. */
function queueOf(policy: Partial<QueuePolicy>, classes: readonly Partial<ClassPolicy>[] = [{}]) {
  const clock = { now: 0 };
  const queue = new AdmissionQueue(
    { ...breakerPolicy(1), ...policy },
    classes.map((one) => ({ ...plainClass, ...one })),
    { onAdmit() {}, onShed() {} },
    () => clock.now,
  );
  const served: string[] = [];
  const make = (
    name: string,
    className = "default",
    tenant = "",
    cost = 1,
    deadline = infinity,
  ) => {
    const flow = queue.flowOf(queue.classes.get(className)!, tenant, clock.now);
    return new SimulatedCall(name, flow, () => served.push(name), cost, deadline);
  };
  const offer = (...given: Parameters<typeof make>): SimulatedCall => {
    const call = make(...given);
    queue.offer(call, clock.now);
    return call;
  };
  return { queue, clock, served, offer };
}

/** Ends what runs until nothing runs any more. */
function drain(queue: AdmissionQueue, calls: readonly SimulatedCall[]): void {
  for (;;) {
    const running = calls.find(({ state }) => state === "running");
    if (!running) return;
    running.end(queue);
  }
}

test("so many calls run as may, ten times as many wait, and the next is refused", (t) => {
  const { queue, offer } = queueOf(breakerPolicy(2));
  const calls = Array.from({ length: 23 }, (_, index) => offer(`${index}`));
  t.is(queue.running, 2);
  t.is(queue.waiting, 20);
  t.is(calls[22]!.state, "queue-full");
  drain(queue, calls);
  t.true(calls.slice(0, 22).every(({ state }) => state === "done"));
  t.is(queue.running, 0);
});

test("calls that wait are served in the order in which they came", (t) => {
  const { queue, served, offer } = queueOf({ capacity: 1, maxWaiting: 100 });
  const calls = ["a", "b", "c", "d"].map((name) => offer(name));
  drain(queue, calls);
  t.deepEqual(served, ["a", "b", "c", "d"]);
});

test("a higher level goes first, whatever waits", (t) => {
  const { queue, served, offer } = queueOf({ capacity: 1, maxWaiting: 100 }, [
    { name: "urgent", level: 0 },
    { name: "batch", level: 1 },
  ]);
  const calls = [
    offer("running", "batch"),
    offer("b1", "batch"),
    offer("u1", "urgent"),
    offer("b2", "batch"),
    offer("u2", "urgent"),
  ];
  drain(queue, calls);
  t.deepEqual(served, ["running", "u1", "u2", "b1", "b2"]);
});

test("a call rises by a level for each time that it ages", (t) => {
  const { queue, clock, served, offer } = queueOf({ capacity: 1, maxWaiting: 100, agingMs: 1000 }, [
    { name: "urgent", level: 0 },
    { name: "batch", level: 1 },
  ]);
  const running = offer("running", "urgent");
  const old = offer("old", "batch");
  clock.now = 2500;
  const young = offer("young", "urgent");
  running.end(queue);
  drain(queue, [running, old, young]);
  t.deepEqual(served, ["running", "old", "young"]);
});

test("weights share a level: three calls of one to one of the other", (t) => {
  const { queue, served, offer } = queueOf({ capacity: 1, maxWaiting: 1000 }, [
    { name: "gold", weight: 3 },
    { name: "plain", weight: 1 },
  ]);
  const calls = [offer("first", "gold")];
  for (let index = 0; index < 40; index++) calls.push(offer("g", "gold"), offer("p", "plain"));
  drain(queue, calls);
  // By hand: of any 40 calls while both wait, 30 and 10, and one more or less at the ends.
  const gold = served.slice(1, 41).filter((name) => name === "g").length;
  t.true(Math.abs(gold - 30) <= 1, `${gold}`);
});

test("tenants of a class share it alike, and one that sends more waits for itself", (t) => {
  const { queue, served, offer } = queueOf({ capacity: 1, maxWaiting: 1000 });
  const calls = [offer("first", "default", "x")];
  for (let index = 0; index < 50; index++) calls.push(offer("many", "default", "many"));
  for (let index = 0; index < 5; index++) calls.push(offer("few", "default", "few"));
  drain(queue, calls);
  // Each of the few is served beside one of the many.
  t.deepEqual(served.slice(1, 11).filter((name) => name === "few").length, 5);
});

test("what costs more is served less often", (t) => {
  const { queue, served, offer } = queueOf({ capacity: 1, maxWaiting: 1000 });
  const calls = [offer("first", "default", "x")];
  for (let index = 0; index < 30; index++) {
    calls.push(offer("big", "default", "big", 4), offer("small", "default", "small", 1));
  }
  drain(queue, calls);
  const big = served.slice(1, 26).filter((name) => name === "big").length;
  t.true(Math.abs(big - 5) <= 1, `${big}`);
});

test("a class has no more calls under way than it may, and others go past it", (t) => {
  const { queue, served, offer } = queueOf({ capacity: 4, maxWaiting: 100 }, [
    { name: "slow", concurrency: 1 },
    { name: "fast" },
  ]);
  const calls = [
    offer("s1", "slow"),
    offer("s2", "slow"),
    offer("f1", "fast"),
    offer("f2", "fast"),
  ];
  t.deepEqual(served, ["s1", "f1", "f2"]);
  t.is(calls[1]!.state, "new");
  calls[0]!.end(queue);
  t.is(calls[1]!.state, "running");
});

test("a full queue sheds the newest of the lowest level for a call of a higher one", (t) => {
  const { queue, offer } = queueOf({ capacity: 1, maxWaiting: 2 }, [
    { name: "urgent", level: 0 },
    { name: "batch", level: 1 },
  ]);
  offer("running", "batch");
  const first = offer("b1", "batch");
  const second = offer("b2", "batch");
  const urgent = offer("u1", "urgent");
  t.is(second.state, "displaced");
  t.is(first.state, "new");
  t.is(urgent.state, "new");
  t.is(offer("b3", "batch").state, "queue-full");
  t.is(queue.waiting, 2);
});

test("rates: a burst at once, then as many as time brings", (t) => {
  const { queue, clock, offer } = queueOf({ capacity: infinity }, [{ rate: 10, burst: 5 }]);
  const states = Array.from({ length: 6 }, () => offer("call"));
  t.deepEqual(
    states.map(({ state }) => state),
    ["running", "running", "running", "running", "running", "rate"],
  );
  t.is(states[5]!.retryAfterMs, 100);
  clock.now = 100;
  t.is(offer("call").state, "running");
  t.is(offer("call").state, "rate");
  t.is(queue.running, 6);
});

test("rates of tenants are apart", (t) => {
  const { offer } = queueOf({ capacity: infinity }, [{ tenantRate: 1, tenantBurst: 1 }]);
  t.is(offer("a1", "default", "a").state, "running");
  t.is(offer("a2", "default", "a").state, "rate");
  t.is(offer("b1", "default", "b").state, "running");
});

test("content that waits is bounded, and is given back with its call", (t) => {
  const { queue, offer } = queueOf({ capacity: 1, maxWaiting: 10, maxWaitingBytes: 100 });
  offer("running");
  const first = offer("first");
  const second = offer("second");
  queue.addBytes(first, 60);
  queue.addBytes(second, 60);
  t.is(second.state, "queue-bytes");
  t.is(queue.waitingBytes, 60);
  queue.leave(first);
  t.is(queue.waitingBytes, 0);
});

test("a call whose deadline has passed does not reach the server", (t) => {
  const { queue, clock, served, offer } = queueOf({ capacity: 1, maxWaiting: 10 });
  const running = offer("running");
  const late = offer("late", "default", "", 1, 50);
  const good = offer("good", "default", "", 1, 500);
  clock.now = 50;
  running.end(queue);
  t.is(late.state, "deadline");
  t.is(good.state, "running");
  t.deepEqual(served, ["running", "good"]);
});

test("a call that has less time left than calls take is not sent, until the server may be faster", (t) => {
  const { queue, clock, offer } = queueOf({ capacity: 1, maxWaiting: 10 });
  const first = offer("first");
  const tooLate = offer("too late", "default", "", 1, 140);
  const inTime = offer("in time", "default", "", 1, 160);
  clock.now = 50;
  // Both have waited; the server has taken 100 ms for the one before.
  first.end(queue, 100);
  t.is(tooLate.state, "deadline");
  t.is(inTime.state, "running");
  const later = offer("later", "default", "", 1, 2140);
  clock.now = 2060;
  inTime.end(queue);
  // Two seconds without a word of the server: a quarter of the time is believed.
  t.is(later.state, "running");
});

test("under overload the newest goes first, if that is asked for", (t) => {
  const { queue, clock, served, offer } = queueOf({
    capacity: 1,
    maxWaiting: 10,
    order: "lifo-under-overload",
    lifoAfterMs: 100,
  });
  const calls = [offer("running"), offer("a"), offer("b")];
  clock.now = 50;
  calls[0]!.end(queue);
  clock.now = 200;
  calls.push(offer("c"));
  calls[1]!.end(queue);
  drain(queue, calls);
  // At 50 ms the oldest has not waited long; at 200 ms b has.
  t.deepEqual(served, ["running", "a", "c", "b"]);
});

test("CoDel sheds when calls wait above the target for an interval, and stops when they do not", (t) => {
  const { queue, clock, offer } = queueOf({
    capacity: 1,
    maxWaiting: 10_000,
    codelTargetMs: 20,
    codelIntervalMs: 100,
  });
  // Work of 10 ms a call comes every 5 ms: twice what can be done.
  const calls: SimulatedCall[] = [];
  let running: SimulatedCall | undefined;
  for (let tick = 0; tick < 400; tick++) {
    clock.now = tick * 5;
    if (tick % 2 === 0) running?.end(queue);
    calls.push(offer(`${tick}`));
    running = calls.find(({ state }) => state === "running");
  }
  const shed = calls.filter(({ state }) => state === "codel").length;
  t.true(shed > 5, `${shed}`);
  drain(queue, calls);
  clock.now += 1000;
  const after = [offer("after")];
  t.is(after[0]!.state, "running");
});

test("limits that grow let calls go on that wait", (t) => {
  const { queue, offer } = queueOf({ capacity: 1, maxWaiting: 10 });
  const calls = [offer("a"), offer("b"), offer("c")];
  queue.change({ ...queue.policy, capacity: 3 });
  t.true(calls.every(({ state }) => state === "running"));
  queue.change({ ...queue.policy, capacity: 1 });
  const next = offer("d");
  calls[0]!.end(queue);
  calls[1]!.end(queue);
  t.is(next.state, "new");
  calls[2]!.end(queue);
  t.is(next.state, "running");
});

const actions = fc.array(
  fc.record({
    kind: fc.constantFrom("offer", "offer", "offer", "end", "leave", "time", "bytes"),
    at: fc.nat(1000),
    className: fc.constantFrom("urgent", "batch", "slow"),
    tenant: fc.constantFrom("", "a", "b"),
    cost: fc.integer({ min: 1, max: 5 }),
  }),
  { maxLength: 200 },
);

test("whatever happens: bounds hold, nobody is lost, and no place stays empty while calls wait", (t) => {
  fc.assert(
    fc.property(actions, (steps) => {
      const { queue, clock, offer } = queueOf(
        { capacity: 3, maxWaiting: 8, maxWaitingBytes: 500, agingMs: 40, codelTargetMs: 30 },
        [
          { name: "urgent", level: 0, weight: 2 },
          { name: "batch", level: 1, maxWaiting: 5 },
          { name: "slow", level: 1, concurrency: 1 },
        ],
      );
      const calls: SimulatedCall[] = [];
      const running = () => calls.filter(({ state }) => state === "running");
      const waiting = () => calls.filter(({ queuedAt }) => queuedAt !== -1);
      for (const { kind, at, className, tenant, cost } of steps) {
        if (kind === "offer") {
          calls.push(offer(`${calls.length}`, className, tenant, cost, clock.now + 100 + at));
        } else if (kind === "time") clock.now += at % 50;
        else if (kind === "end") {
          const all = running();
          all[at % Math.max(1, all.length)]?.end(queue);
        } else {
          const all = waiting();
          const one = all[at % Math.max(1, all.length)];
          if (one && kind === "leave") {
            queue.leave(one);
            one.state = "done";
          } else if (one) queue.addBytes(one, at);
        }
        t.is(queue.running, running().length);
        t.is(queue.waiting, waiting().length);
        t.is(
          queue.waitingBytes,
          waiting().reduce((sum, { waitingBytes }) => sum + waitingBytes, 0),
        );
        t.true(queue.running <= 3 && queue.waiting <= 8 && queue.waitingBytes <= 500);
        const slow = running().filter(({ flow }) => flow.callClass.policy.name === "slow").length;
        t.true(slow <= 1);
        const mayRun = waiting().some(
          ({ flow }) => flow.callClass.policy.name !== "slow" || slow === 0,
        );
        if (mayRun) t.is(queue.running, 3);
        // Those that wait stand in the queue, and nobody else.
        t.true(waiting().every(({ state }) => state === "new"));
      }
      drain(queue, calls);
      t.is(queue.waiting, 0);
      t.true(calls.every(({ state }) => state !== "new" && state !== "running"));
    }),
    { numRuns: 150 },
  );
});

test("a limit that follows the server: three at once first, ten times as many wait, and then as it answers", (t) => {
  const adaptive = { least: 1, most: 12, tolerance: 0.25 };
  const { queue, clock, offer } = queueOf({ ...breakerPolicy(0), adaptive });
  const calls = Array.from({ length: 34 }, (_, index) => offer(`${index}`));
  t.is(queue.running, 3);
  t.is(queue.waiting, 30);
  t.is(calls[33]!.state, "queue-full");
  // Ten that take 10 ms each show what one takes; all that wait may go then, up to the most.
  while (queue.running === 3) {
    clock.now += 10;
    for (const call of calls.filter(({ state }) => state === "running")) call.end(queue, 10);
  }
  t.is(queue.capacity, 12);
  t.is(queue.running, 12);
  // A fixed limit in its place holds at once.
  queue.change({ ...queue.policy, capacity: 2 });
  t.is(queue.capacity, 2);
  drain(queue, calls);
  t.is(calls.filter(({ state }) => state === "done").length, 33);
});
