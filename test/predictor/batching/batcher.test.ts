import test from "ava";
import fc from "fast-check";
import type { BatchPolicy } from "../../../server/predictor/batching/batch-policy.ts";
import { type BatchedResult, Batcher } from "../../../server/predictor/batching/batcher.ts";
import type { EngineResult } from "../../../server/predictor/engines/engine.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";
import { localCall } from "../../support/call-context.ts";
import { virtualClock } from "../../support/virtual-clock.ts";

const poison = -1;

function input(values: readonly number[], width = 1): Tensor[] {
  const data = Float64Array.from(values.flatMap((value) => Array<number>(width).fill(value)));
  return [
    {
      name: "x",
      datatype: "FP64",
      shape: [values.length, width],
      bytes: new Uint8Array(data.buffer),
    },
  ];
}

function valuesOf(tensors: readonly Tensor[]): number[] {
  const [tensor] = tensors;
  const bytes = Uint8Array.from(tensor!.bytes!);
  const width = tensor!.shape[1]!;
  return [...new Float64Array(bytes.buffer)].filter((_, index) => index % width === 0);
}

/** A model that doubles its rows, fails on a poisoned one, and ends runs when the test says so. */
class Doubler {
  readonly batches: number[][] = [];
  readonly open: (() => void)[] = [];
  immediate = false;

  run(inputs: readonly Tensor[]): EngineResult | Promise<EngineResult> {
    const values = valuesOf(inputs);
    this.batches.push(values);
    const answer = (): EngineResult => {
      if (values.includes(poison)) throw new Error("poisoned");
      const width = inputs[0]!.shape[1]!;
      return {
        outputs: input(
          values.map((value) => value * 2),
          width,
        ),
        inferNs: 1,
      };
    };
    if (this.immediate) return answer();
    return new Promise((resolve, reject) => {
      this.open.push(() => {
        try {
          resolve(answer());
        } catch (error) {
          reject(error);
        }
      });
    });
  }
}

function start(policy: Partial<BatchPolicy> = {}, { slots = 1, limit = 1000 } = {}) {
  const clock = virtualClock();
  const model = new Doubler();
  const turnEnds: (() => void)[] = [];
  const batcher = new Batcher({
    model: "m",
    policy: { maxRows: 8, preferredRows: [], maxDelayMs: 0, ...policy },
    slots,
    limit,
    run: (inputs) => model.run(inputs),
    now: clock.now,
    after: clock.after,
    atTurnEnd: (action) => turnEnds.push(action),
  });
  const endTurn = (): void => {
    for (const action of turnEnds.splice(0)) action();
  };
  return { clock, model, batcher, endTurn };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 8; turn++) await Promise.resolve();
}

class Call {
  readonly abort = new AbortController();
  readonly values: readonly number[];
  ends = 0;
  outcome: string | undefined;
  result: BatchedResult | undefined;

  constructor(batcher: Batcher, values: readonly number[], width = 1) {
    this.values = values;
    batcher
      .run(localCall(this.abort.signal), { inputs: input(values, width), outputNames: ["y"] })
      .then(
        (result) => {
          this.ends++;
          this.result = result;
          const right = valuesOf(result.outputs).join() === values.map((value) => value * 2).join();
          this.outcome = right ? "answered" : "answered wrongly";
        },
        (error: Error & { reason?: string }) => {
          this.ends++;
          this.outcome = error.reason ?? error.message;
        },
      );
  }
}

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
    calls.map(({ result }) => result!.batchRows),
    [4, 0, 0],
  );
  t.true(batcher.isIdle);
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

const command = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant("call" as const),
      rows: fc.integer({ min: 0, max: 12 }),
      width: fc.constantFrom(1, 1, 1, 2),
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

test("whatever happens: no call is lost or answered twice, order and bounds are kept", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.record({
        maxRows: fc.integer({ min: 1, max: 10 }),
        preferredRows: fc
          .uniqueArray(fc.integer({ min: 1, max: 10 }), { maxLength: 2 })
          .map((sizes) => sizes.sort((a, b) => a - b)),
        maxDelayMs: fc.constantFrom(0, 0, 7),
      }),
      fc.integer({ min: 1, max: 3 }),
      fc.integer({ min: 1, max: 12 }),
      fc.array(command, { maxLength: 80 }),
      async (policy, slots, limit, commands) => {
        const { clock, model, batcher, endTurn } = start(policy, { slots, limit });
        const calls: Call[] = [];
        let next = 1;
        for (const each of commands) {
          if (each.kind === "call") {
            const values = Array.from({ length: each.rows }, () => next++);
            if (each.bad === 0 && values.length > 0) values[0] = poison;
            calls.push(new Call(batcher, values, each.width));
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
          if (batcher.waiting > limit + slots * policy.maxRows)
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
        for (const { ends, outcome, values, abort } of calls) {
          if (ends !== 1) throw new Error(`a call ended ${ends} times`);
          const allowed = ["QUEUE_FULL"];
          if (abort.signal.aborted) allowed.push("CALL_CANCELLED");
          if (values.includes(poison)) allowed.push("poisoned");
          else allowed.push("answered");
          if (!allowed.includes(outcome!)) throw new Error(`${outcome}, allowed are ${allowed}`);
        }
        for (const batch of model.batches) {
          const of = calls.filter(({ values }) =>
            values.some((value) => batch.includes(value) && value !== poison),
          );
          if (batch.length > policy.maxRows && of.length > 1)
            throw new Error(`${batch.length} rows`);
          const good = batch.filter((value) => value !== poison);
          if (good.some((value, index) => index > 0 && value < good[index - 1]!))
            throw new Error("out of order");
        }
        if (clock.due().length > 0) throw new Error("a timer is left");
      },
    ),
    { numRuns: 500 },
  );
  t.pass();
});
