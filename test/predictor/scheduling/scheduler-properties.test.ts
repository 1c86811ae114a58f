import test from "ava";
import fc from "fast-check";
import {
  plainQueue,
  type QueuePolicies,
} from "../../../server/predictor/scheduling/queue-policy.ts";
import { Scheduler } from "../../../server/predictor/scheduling/scheduler.ts";
import { localCall } from "../../support/call-context.ts";
import { virtualClock } from "../../support/virtual-clock.ts";
import { Call, input, settle, start } from "./scheduled-doubler.ts";

const maxRows = 6;

/** A call as the test knows it. */
interface Known {
  readonly call: Call;
  readonly level: number;
  readonly width: number;
  readonly rows: number;
  readonly arrivedMs: number;
  /** Time for which it may wait; 0 for ever. */
  readonly waitMs: number;
  begunMs: number | undefined;
  endedMs: number | undefined;
  cancelledMs: number | undefined;
}

const command = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      rows: fc.integer({ min: 1, max: 4 }),
      width: fc.constantFrom(1, 1, 1, 2),
      priority: fc.integer({ min: 1, max: 3 }),
      timeoutMs: fc.constantFrom(0, 0, 3, 30),
    }),
  },
  { weight: 3, arbitrary: fc.constant({ kind: "turn" as const }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("end" as const), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("abort" as const), pick: fc.nat() }) },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constant("advance" as const), ms: fc.nat(20) }),
  },
);

interface Played {
  readonly known: readonly Known[];
  /** What is wrong, found while it happened. */
  readonly wrongs: readonly string[];
}

/**
 * Has a scheduler do commands on a virtual clock that moves by single milliseconds.
 *
 * @param onRun - told of each run when it begins, with the calls that wait then, those of the run among them
 */
async function play(
  queue: Partial<QueuePolicies>,
  slots: number,
  commands: readonly (typeof command extends fc.Arbitrary<infer C> ? C : never)[],
  onRun: (run: readonly Known[], waiting: readonly Known[], nowMs: number) => string | undefined,
): Promise<Played> {
  const { clock, model, batcher, endTurn } = start({ maxRows }, { slots, queue });
  const known: Known[] = [];
  const wrongs: string[] = [];
  let next = 1;
  model.began = (values) => {
    const waiting = known.filter(
      ({ begunMs, endedMs }) => begunMs === undefined && endedMs === undefined,
    );
    const run = waiting
      .filter(({ call }) => values.includes(call.values[0]!))
      .sort(
        (one, other) => values.indexOf(one.call.values[0]!) - values.indexOf(other.call.values[0]!),
      );
    // What has ended or begun before must not be in it.
    if (run.flatMap(({ call }) => call.values).length !== values.length) {
      wrongs.push(`a run of ${values} has rows of calls that do not wait`);
    }
    const wrong = onRun(run, waiting, clock.now());
    if (wrong !== undefined) wrongs.push(wrong);
    for (const each of run) each.begunMs = clock.now();
  };
  const afterwards = async (): Promise<void> => {
    await settle();
    for (const each of known) {
      if (each.endedMs === undefined && each.call.ends > 0) each.endedMs = clock.now();
    }
  };
  const step = async (): Promise<void> => {
    clock.advance(1);
    await afterwards();
  };
  for (const each of commands) {
    if (each.kind === "call") {
      const { rows, width, priority, timeoutMs } = each;
      const values = Array.from({ length: rows }, () => next++);
      const call = new Call(batcher, values, width, { priority, timeoutMs });
      known.push({
        call,
        level: Math.min(priority, queue.levels ?? 1),
        width,
        rows,
        arrivedMs: clock.now(),
        waitMs: queue.defaultPolicy?.allowOverride ? timeoutMs : 0,
        begunMs: undefined,
        endedMs: undefined,
        cancelledMs: undefined,
      });
    } else if (each.kind === "turn") endTurn();
    else if (each.kind === "advance") for (let ms = 0; ms < each.ms; ms++) await step();
    else if (each.kind === "end") {
      model.open.splice(each.pick % Math.max(model.open.length, 1), 1)[0]?.();
    } else {
      const left = known.filter(({ endedMs }) => endedMs === undefined);
      const one = left[each.pick % Math.max(left.length, 1)];
      if (one) {
        one.cancelledMs = clock.now();
        one.call.abort.abort();
      }
    }
    await afterwards();
  }
  for (let turn = 0; !batcher.isIdle; turn++) {
    if (turn > 2000) throw new Error("calls do not end");
    endTurn();
    for (const end of model.open.splice(0)) end();
    await step();
  }
  return { known, wrongs };
}

/** The order in which calls are to be served, by the words of docs/batching.md. */
function inOrder(waiting: readonly Known[], nowMs: number, agingMs: number): readonly Known[] {
  const levelOf = ({ level, arrivedMs }: Known): number =>
    agingMs === 0 ? level : Math.max(1, level - Math.floor((nowMs - arrivedMs) / agingMs));
  // Calls that came in the same millisecond and have aged to the same level go by the level they asked for.
  return waiting.toSorted(
    (one, other) =>
      levelOf(one) - levelOf(other) ||
      one.arrivedMs - other.arrivedMs ||
      one.level - other.level ||
      waiting.indexOf(one) - waiting.indexOf(other),
  );
}

/** As many of the first as are alike and fit. */
function batchOf(ordered: readonly Known[]): readonly Known[] {
  const [first] = ordered;
  const batch: Known[] = [];
  let rows = 0;
  for (const each of ordered) {
    if (each.width !== first!.width) break;
    if (batch.length > 0 && rows + each.rows > maxRows) break;
    batch.push(each);
    rows += each.rows;
  }
  return batch;
}

const names = (calls: readonly Known[]): string => calls.map(({ call }) => call.values[0]).join();

for (const agingMs of [0, 7]) {
  test(`every run is the calls that are next, ${agingMs === 0 ? "levels served strictly" : "with aging"}, as many as fit`, async (t) => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.integer({ min: 1, max: 2 }),
        fc.array(command, { maxLength: 60 }),
        async (levels, slots, commands) => {
          const queue = { levels, defaultLevel: levels, agingMs };
          const { known, wrongs } = await play(queue, slots, commands, (run, waiting, nowMs) => {
            const expected = batchOf(inOrder(waiting, nowMs, levels > 1 ? agingMs : 0));
            return names(run) === names(expected)
              ? undefined
              : `ran ${names(run)} of ${names(waiting)}, expected ${names(expected)}`;
          });
          t.deepEqual(wrongs, []);
          t.true(known.every(({ call }) => call.ends === 1));
        },
      ),
      { numRuns: 400 },
    );
  });
}

test("with aging nobody starves: no call begins before one that has aged to level 1 before it came", async (t) => {
  const agingMs = 5;
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 120 }), async (commands) => {
      const queue = { levels: 3, defaultLevel: 3, agingMs };
      const { wrongs } = await play(queue, 1, commands, (run, waiting) => {
        const starving = waiting.find(
          (each) =>
            !run.includes(each) &&
            run.some(({ arrivedMs }) => arrivedMs > each.arrivedMs + (each.level - 1) * agingMs),
        );
        return starving && `${names([starving])} was overtaken by ${names(run)}`;
      });
      t.deepEqual(wrongs, []);
    }),
    { numRuns: 400 },
  );
});

test("a cancel is answered at once, a wait that is over in its millisecond, and neither is run afterwards", async (t) => {
  const outcomes = new Map<string, number>();
  const queue = {
    defaultPolicy: { maxSize: 0, timeoutMs: 0, allowOverride: true, onTimeout: "reject" as const },
  };
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 2 }),
      fc.array(command, { maxLength: 60 }),
      async (slots, commands) => {
        // play() itself finds a run with a call that has ended.
        const { known, wrongs } = await play(queue, slots, commands, () => undefined);
        t.deepEqual(wrongs, []);
        for (const { call, arrivedMs, waitMs, begunMs, endedMs, cancelledMs } of known) {
          const outcome = call.outcome!;
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
          if (cancelledMs !== undefined) {
            t.deepEqual([outcome, endedMs], ["CALL_CANCELLED", cancelledMs]);
          } else if (begunMs !== undefined) {
            t.is(outcome, "answered");
            // One that may wait no longer is not begun.
            if (waitMs > 0) t.true(begunMs <= arrivedMs + waitMs);
          } else t.deepEqual([outcome, endedMs], ["QUEUE_TIMEOUT", arrivedMs + waitMs]);
        }
      },
    ),
    { numRuns: 400 },
  );
  // Each of them did happen.
  t.deepEqual([...outcomes.keys()].sort(), ["CALL_CANCELLED", "QUEUE_TIMEOUT", "answered"]);
});

test("of models that share a thread each has its turn: at most two runs of the other come between", async (t) => {
  const slots = 2;
  await fc.assert(
    fc.asyncProperty(
      fc.array(
        fc.record({ model: fc.nat(1), calls: fc.integer({ min: 1, max: 30 }), runs: fc.nat(6) }),
        { maxLength: 20 },
      ),
      async (steps) => {
        const clock = virtualClock();
        const thread: { readonly model: number; readonly end: () => void }[] = [];
        const models = [0, 1].map(
          (model) =>
            new Scheduler({
              model: `${model}`,
              batch: undefined,
              queue: plainQueue,
              preserveOrder: false,
              slots,
              limit: 10_000,
              // The thread takes runs in the order in which they were sent, as a worker does.
              run: () =>
                new Promise((resolve) => {
                  thread.push({ model, end: () => resolve({ outputs: input([1]), inferNs: 1 }) });
                }),
              now: clock.now,
              after: clock.after,
              atTurnEnd: (action) => action(),
            }),
        );
        /** Runs of the other since the last of each model, while it has calls. */
        const others = [0, 0];
        let most = 0;
        const runOne = async (): Promise<void> => {
          const run = thread.shift();
          if (!run) return;
          const other = 1 - run.model;
          others[run.model] = 0;
          if (models[other]!.isIdle) others[other] = 0;
          else most = Math.max(most, ++others[other]!);
          run.end();
          await settle();
        };
        for (const { model, calls, runs } of steps) {
          for (let call = 0; call < calls; call++) {
            void models[model]!.run(localCall(new AbortController().signal), {
              inputs: input([1]),
              outputNames: ["y"],
              priority: 0,
              timeoutMs: 0,
              detail: undefined,
              alone: false,
            });
          }
          for (let run = 0; run < runs; run++) await runOne();
        }
        while (thread.length > 0) await runOne();
        t.true(models.every(({ isIdle }) => isIdle));
        t.true(most <= slots, `${most} runs of the other`);
      },
    ),
    { numRuns: 300 },
  );
});
