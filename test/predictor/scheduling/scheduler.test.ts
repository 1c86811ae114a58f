import test from "ava";
import fc from "fast-check";
import {
  plainQueue,
  type QueuePolicies,
  type QueuePolicy,
} from "../../../server/predictor/scheduling/queue-policy.ts";
import { Scheduler } from "../../../server/predictor/scheduling/scheduler.ts";
import { localCall } from "../../support/call-context.ts";
import { virtualClock } from "../../support/virtual-clock.ts";
import { Call, input, poison, settle, start } from "./scheduled-doubler.ts";

test("calls of one turn are one batch, and each gets its rows", async (t) => {
  const { model, batcher, endTurn } = start();
  const calls = [[1], [2, 3], [4]].map((values) => new Call(batcher, values));
  t.deepEqual(model.batches, []);
  endTurn();
  t.deepEqual(model.batches, [[1, 2, 3, 4]]);
  model.open[0]!();
  await settle();
  t.deepEqual(
    calls.map(({ outcome }) => outcome),
    ["answered", "answered", "answered"],
  );
  // The run counts once.
  t.deepEqual(
    calls.map(({ result }) => result!.runRows),
    [4, 0, 0],
  );
  t.true(batcher.isIdle);
});

test("a run hears when the last of its calls has left, and not before", async (t) => {
  const clock = virtualClock();
  const runs: { readonly details: readonly string[]; gone: boolean }[] = [];
  const turnEnds: (() => void)[] = [];
  const scheduler = new Scheduler<string>({
    model: "m",
    batch: { maxRows: 8, preferredRows: [], maxDelayMs: 0 },
    queue: plainQueue,
    preserveOrder: false,
    slots: 2,
    limit: 10,
    run(_, __, work) {
      const run = { details: work.details, gone: false };
      work.onGone(() => (run.gone = true));
      runs.push(run);
      return new Promise(() => {});
    },
    now: clock.now,
    after: clock.after,
    atTurnEnd: (action) => turnEnds.push(action),
  });
  const aborts = ["a", "b", "c"].map((detail) => {
    const abort = new AbortController();
    scheduler
      .run(localCall(abort.signal), {
        inputs: input([1]),
        outputNames: ["y"],
        priority: 0,
        timeoutMs: 0,
        detail,
        alone: detail === "c",
      })
      .catch(() => {});
    return abort;
  });
  for (const action of turnEnds.splice(0)) action();
  t.deepEqual(
    runs.map(({ details }) => details),
    [["a", "b"], ["c"]],
  );
  aborts[0]!.abort();
  t.deepEqual(
    runs.map(({ gone }) => gone),
    [false, false],
  );
  aborts[1]!.abort();
  aborts[2]!.abort();
  t.deepEqual(
    runs.map(({ gone }) => gone),
    [true, true],
  );
  await settle();
  // The model still has them.
  t.is(scheduler.running, 2);
});

test("what comes while the model runs is the next batch, in order and up to the maximum", async (t) => {
  const { model, batcher, endTurn } = start({ maxRows: 3 });
  const first = new Call(batcher, [1]);
  endTurn();
  const others = [[2], [3], [4], [5]].map((values) => new Call(batcher, values));
  endTurn();
  t.is(batcher.waiting, 4);
  model.open[0]!();
  await settle();
  endTurn();
  model.open[1]!();
  await settle();
  endTurn();
  model.open[2]!();
  await settle();
  t.deepEqual(model.batches, [[1], [2, 3, 4], [5]]);
  t.true([first, ...others].every(({ outcome }) => outcome === "answered"));
});

test("a call of another shape closes the batch, and order is kept", async (t) => {
  const { model, batcher, endTurn } = start({}, { slots: 10 });
  model.immediate = true;
  const calls = [
    new Call(batcher, [1]),
    new Call(batcher, [2]),
    new Call(batcher, [3], 2),
    new Call(batcher, [4]),
  ];
  endTurn();
  await settle();
  t.deepEqual(model.batches, [[1, 2], [3], [4]]);
  t.true(calls.every(({ outcome }) => outcome === "answered"));
});

test("a batch that fails is run call by call: each has its own error or answer", async (t) => {
  const { model, batcher, endTurn } = start();
  model.immediate = true;
  const calls = [[1], [poison], [3]].map((values) => new Call(batcher, values));
  for (let turn = 0; turn < 6; turn++) {
    endTurn();
    await settle();
  }
  t.deepEqual(
    calls.map(({ outcome }) => outcome),
    ["answered", "poisoned", "answered"],
  );
  t.deepEqual(model.batches, [[1, poison, 3], [1], [poison], [3]]);
});

test("with a delay calls wait for others, as long as the oldest of them may", async (t) => {
  const { clock, model, batcher, endTurn } = start({ maxDelayMs: 10 });
  model.immediate = true;
  new Call(batcher, [1]);
  endTurn();
  clock.advance(6);
  new Call(batcher, [2]);
  endTurn();
  clock.advance(3.9);
  t.deepEqual(model.batches, []);
  clock.advance(0.1);
  t.deepEqual(model.batches, [[1, 2]]);
  await settle();
  t.deepEqual(clock.due(), []);
});

test("a call that is cancelled while it waits is not run; one that is while it runs is not answered", async (t) => {
  const { model, batcher, endTurn } = start();
  const [one, two] = [[1], [2]].map((values) => new Call(batcher, values));
  one!.abort.abort();
  endTurn();
  t.deepEqual(model.batches, [[2]]);
  two!.abort.abort();
  await settle();
  t.deepEqual([one!.outcome, two!.outcome], ["CALL_CANCELLED", "CALL_CANCELLED"]);
  t.is(batcher.running, 1);
  model.open[0]!();
  await settle();
  t.true(batcher.isIdle);
});

test("one call too many is refused", async (t) => {
  const { batcher } = start({}, { limit: 2 });
  const calls = [[1], [2], [3]].map((values) => new Call(batcher, values));
  await settle();
  t.deepEqual(
    calls.map(({ outcome }) => outcome),
    [undefined, undefined, "QUEUE_FULL"],
  );
});

const rejecting: QueuePolicy = {
  maxSize: 0,
  timeoutMs: 10,
  allowOverride: true,
  onTimeout: "reject",
};

test("without batches calls run one by one, each as soon as there is room", async (t) => {
  const { model, batcher } = start(null, { slots: 2 });
  const calls = [[1], [2, 3], [4]].map((values) => new Call(batcher, values));
  t.deepEqual(model.batches, [[1], [2, 3]]);
  model.open[1]!();
  await settle();
  t.deepEqual(model.batches, [[1], [2, 3], [4]]);
  t.is(calls[1]!.outcome, "answered");
});

test("a long queue of calls that end at once does not grow the stack", async (t) => {
  const { model, batcher } = start(null, { limit: 50_000 });
  const first = new Call(batcher, [0]);
  const calls = Array.from({ length: 20_000 }, (_, index) => new Call(batcher, [index]));
  model.immediate = true;
  model.open[0]!();
  await settle();
  await batcher.idle();
  await settle();
  t.true([first, ...calls].every(({ outcome }) => outcome === "answered"));
});

test("priority levels are served strictly, calls without one at the default level", async (t) => {
  const { model, batcher, endTurn } = start(
    { maxRows: 1 },
    { queue: { levels: 3, defaultLevel: 2 } },
  );
  for (const [value, priority] of [
    [1, 3],
    [2, 0],
    [3, 1],
    [4, 2],
    [5, 9],
    [6, 1],
  ] as const) {
    new Call(batcher, [value], 1, { priority });
  }
  for (let run = 0; run < 6; run++) {
    endTurn();
    model.open[run]!();
    await settle();
  }
  t.deepEqual(model.batches.flat(), [3, 6, 2, 4, 5, 1]);
});

test("with aging a call of a low level is not overtaken for ever", async (t) => {
  const { clock, model, batcher, endTurn } = start(
    { maxRows: 1 },
    { queue: { levels: 2, defaultLevel: 2, agingMs: 100 } },
  );
  new Call(batcher, [1], 1, { priority: 2 });
  for (let run = 0; run < 15; run++) {
    new Call(batcher, [100 + run], 1, { priority: 1 });
    clock.advance(10);
    endTurn();
    model.open[run]!();
    await settle();
  }
  // After 100 ms it counts as level 1, where it is the oldest.
  t.is(model.batches.flat().indexOf(1), 9);
});

test("a call that waited too long is refused, or served after those in time", async (t) => {
  for (const onTimeout of ["reject", "delay"] as const) {
    const { clock, model, batcher, endTurn } = start(
      { maxRows: 1 },
      { queue: { defaultPolicy: { ...rejecting, onTimeout } } },
    );
    new Call(batcher, [0]);
    endTurn();
    const late = new Call(batcher, [1]);
    clock.advance(9);
    const inTime = new Call(batcher, [2]);
    clock.advance(1);
    await settle();
    t.is(late.outcome, onTimeout === "reject" ? "QUEUE_TIMEOUT" : undefined);
    for (let run = 0; run < 3; run++) {
      model.open[run]?.();
      await settle();
      endTurn();
    }
    t.deepEqual(model.batches.flat(), onTimeout === "reject" ? [0, 2] : [0, 2, 1]);
    t.is(inTime.outcome, "answered");
    t.deepEqual(clock.due(), []);
  }
});

test("a call may shorten its time in the queue, not lengthen it", async (t) => {
  const { clock, batcher } = start({}, { queue: { defaultPolicy: rejecting } });
  const short = new Call(batcher, [1], 1, { timeoutMs: 4 });
  const long = new Call(batcher, [2], 1, { timeoutMs: 40 });
  clock.advance(4);
  await settle();
  t.deepEqual([short.outcome, long.outcome], ["QUEUE_TIMEOUT", undefined]);
  clock.advance(6);
  await settle();
  t.is(long.outcome, "QUEUE_TIMEOUT");
});

test("a level takes as many calls as its own policy says", async (t) => {
  const { batcher } = start(
    {},
    {
      queue: { levels: 2, defaultLevel: 2, byLevel: new Map([[1, { ...rejecting, maxSize: 1 }]]) },
    },
  );
  const calls = [1, 1, 2, 2].map((priority) => new Call(batcher, [1], 1, { priority }));
  await settle();
  t.deepEqual(
    calls.map(({ outcome }) => outcome),
    [undefined, "QUEUE_FULL", undefined, undefined],
  );
});

test("with preserved order the answer of a later run waits for the earlier ones", async (t) => {
  const { model, batcher, endTurn } = start({ maxRows: 1 }, { slots: 3, preserveOrder: true });
  const ends: number[] = [];
  const calls = [1, 2, 3].map(
    (value) => new Call(batcher, [value], 1, { ended: () => ends.push(value) }),
  );
  endTurn();
  model.open[2]!();
  await settle();
  t.deepEqual(ends, []);
  calls[0]!.abort.abort();
  await settle();
  t.deepEqual(ends, [1]);
  model.open[1]!();
  await settle();
  t.deepEqual(ends, [1, 2, 3]);
});

const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      rows: fc.integer({ min: 0, max: 12 }),
      width: fc.constantFrom(1, 1, 1, 2),
      priority: fc.nat(4),
      timeoutMs: fc.constantFrom(0, 0, 3, 30),
      bad: fc.nat(15),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: "turn" as const }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("end" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort" as const), pick: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("advance" as const),
      ms: fc.integer({ min: 0, max: 20 }),
    }),
  },
);

const policyArbitrary: fc.Arbitrary<QueuePolicy> = fc.record({
  maxSize: fc.constantFrom(0, 0, 2),
  timeoutMs: fc.constantFrom(0, 5, 15),
  allowOverride: fc.boolean(),
  onTimeout: fc.constantFrom("reject" as const, "delay" as const),
});

const queueArbitrary: fc.Arbitrary<QueuePolicies> = fc.constantFrom(1, 1, 3).chain((levels) =>
  fc.record({
    levels: fc.constant(levels),
    defaultLevel: fc.integer({ min: 1, max: levels }),
    defaultPolicy: policyArbitrary,
    byLevel: fc
      .option(policyArbitrary, { nil: undefined })
      .map((policy) => new Map(policy ? [[1, policy] as const] : [])),
    agingMs: fc.constantFrom(0, 0, 10),
  }),
);

test("whatever happens: no call is lost or answered twice, order and bounds are kept", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.option(
        fc.record({
          maxRows: fc.integer({ min: 1, max: 10 }),
          preferredRows: fc
            .uniqueArray(fc.integer({ min: 1, max: 10 }), { maxLength: 2 })
            .map((sizes) => sizes.sort((a, b) => a - b)),
          maxDelayMs: fc.constantFrom(0, 0, 7),
        }),
        { nil: null },
      ),
      queueArbitrary,
      fc.record({
        slots: fc.integer({ min: 1, max: 3 }),
        limit: fc.integer({ min: 1, max: 12 }),
        preserveOrder: fc.boolean(),
      }),
      fc.array(command, { maxLength: 80 }),
      async (policy, queue, { slots, limit, preserveOrder }, commands) => {
        const { clock, model, batcher, endTurn } = start(policy, {
          slots,
          limit,
          queue,
          preserveOrder,
        });
        const calls: Call[] = [];
        const answered: Call[] = [];
        let next = 1;
        for (const each of commands) {
          if (each.kind === "call") {
            const values = Array.from({ length: each.rows }, () => next++);
            if (each.bad === 0 && values.length > 0) values[0] = poison;
            const { priority, timeoutMs } = each;
            const call: Call = new Call(batcher, values, each.width, {
              priority,
              timeoutMs,
              ended: () => answered.push(call),
            });
            calls.push(call);
          } else if (each.kind === "turn") endTurn();
          else if (each.kind === "advance") clock.advance(each.ms);
          else if (each.kind === "end")
            model.open.splice(each.pick % Math.max(model.open.length, 1), 1)[0]?.();
          else {
            const waiting = calls.filter(({ outcome }) => outcome === undefined);
            waiting[each.pick % Math.max(waiting.length, 1)]?.abort.abort();
          }
          await settle();
          if (batcher.running > slots) throw new Error(`${batcher.running} runs at once`);
          // What failed together comes back to the queue, whatever its bound.
          if (batcher.waiting > limit + slots * (policy?.maxRows ?? 0))
            throw new Error(`${batcher.waiting} wait`);
        }
        for (let turn = 0; !batcher.isIdle; turn++) {
          if (turn > 1000) throw new Error("calls do not end");
          endTurn();
          clock.advance(10);
          for (const end of model.open.splice(0)) end();
          await settle();
        }
        await batcher.idle();
        await settle();
        for (const { ends, outcome, values, abort } of calls) {
          if (ends !== 1) throw new Error(`a call ended ${ends} times`);
          const allowed = ["QUEUE_FULL", "QUEUE_TIMEOUT"];
          if (abort.signal.aborted) allowed.push("CALL_CANCELLED");
          if (values.includes(poison)) allowed.push("poisoned");
          else allowed.push("answered");
          if (!allowed.includes(outcome!)) throw new Error(`${outcome}, allowed are ${allowed}`);
        }
        for (const batch of model.batches) {
          const of = calls.filter(({ values }) =>
            values.some((value) => batch.includes(value) && value !== poison),
          );
          if (of.length > 1 && batch.length > (policy?.maxRows ?? 0))
            throw new Error(`${batch.length} rows of ${of.length} calls`);
        }
        const plain = queue.levels === 1 && queue.agingMs === 0;
        if (plain && [...queue.byLevel.values(), queue.defaultPolicy].every(isRejecting)) {
          for (const batch of model.batches) {
            const good = batch.filter((value) => value !== poison);
            if (good.some((value, index) => index > 0 && value < good[index - 1]!))
              throw new Error("out of order");
          }
        }
        if (preserveOrder) {
          const order = answered.filter(({ outcome }) => outcome === "answered");
          const places = order.map((call) => calls.indexOf(call));
          if (places.some((place, index) => index > 0 && place < places[index - 1]!))
            throw new Error(`answered in the order ${places}`);
        }
        if (clock.due().length > 0) throw new Error("a timer is left");
      },
    ),
    { numRuns: 1000 },
  );
  t.pass();
});

function isRejecting({ onTimeout }: QueuePolicy): boolean {
  return onTimeout === "reject";
}
