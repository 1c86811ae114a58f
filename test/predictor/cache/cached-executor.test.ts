import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { CachedExecutor } from "../../../server/predictor/cache/cached-executor.ts";
import { ResponseCache } from "../../../server/predictor/cache/response-cache.ts";
import { noOptions } from "../../../server/predictor/call-options.ts";
import type { Execution, Executor, TensorCall } from "../../../server/predictor/executor.ts";
import { ModelStatistics } from "../../../server/predictor/model-statistics.ts";
import type { CallAbort } from "../../../server/rpc/call-context.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";
import { localCall } from "../../support/call-context.ts";

const input = (value: number): Tensor => ({
  name: "x",
  datatype: "UINT8",
  shape: [1],
  bytes: Uint8Array.of(value),
});

const callOf = (value: number, options: Partial<TensorCall["options"]> = {}): TensorCall => ({
  inputs: [input(value)],
  outputNames: ["y"],
  rows: 1,
  options: { ...noOptions, ...options },
});

const valueIn = ({ outputs }: Execution): number => outputs[0]!.bytes![0]!;

/** A run that the model under the cache has. */
interface Run {
  readonly value: number;
  readonly call: CallAbort;
  readonly tensors: TensorCall;
  ended: boolean;
  succeed(): void;
  fail(): void;
}

/** A model that adds 100, when the test says so. Runs that are cancelled fail, as the scheduler has it. */
class ManualModel implements Executor {
  readonly waiting = 0;
  readonly placement = "test";
  readonly memoryBytes = 0;
  readonly runs: Run[] = [];
  identity: (() => string) | undefined;
  /** Answers before it returns. */
  immediate = false;
  released = false;

  get running(): number {
    return this.open.length;
  }

  get open(): readonly Run[] {
    return this.runs.filter(({ ended }) => !ended);
  }

  execute(call: CallAbort, tensors: TensorCall): Execution | Promise<Execution> {
    const { promise, resolve, reject } = Promise.withResolvers<Execution>();
    const run: Run = {
      value: tensors.inputs[0]!.bytes![0]!,
      call,
      tensors,
      ended: false,
      succeed: () => {
        run.ended = true;
        resolve(this.#answer(tensors));
      },
      fail: () => {
        run.ended = true;
        reject(new Error("the model failed"));
      },
    };
    this.runs.push(run);
    if (this.immediate) {
      run.ended = true;
      return this.#answer(tensors);
    }
    call.onAbort(() => {
      run.ended = true;
      reject(new TensorwireError("CALL_CANCELLED", "the run was cancelled"));
    });
    return promise;
  }

  async idle(): Promise<void> {}

  async release(): Promise<void> {
    this.released = true;
  }

  /** A view on the batch that the answer was computed in. */
  #answer({ inputs }: TensorCall): Execution {
    const batch = Uint8Array.of(0, inputs[0]!.bytes![0]! + 100);
    const outputs: Tensor[] = [
      { name: "y", datatype: "UINT8", shape: [1], bytes: batch.subarray(1) },
    ];
    return { outputs, inferNs: 7, startedMs: 0, runRows: 1 };
  }
}

function start({ limit = 100, preserveOrder = false, bytes = 1 << 20 } = {}) {
  const model = new ManualModel();
  const cache = new ResponseCache(bytes);
  const statistics = new ModelStatistics();
  const executor = new CachedExecutor({
    model: "m",
    executor: model,
    statistics,
    shelf: cache.open(),
    limit,
    preserveOrder,
    now: () => 0,
  });
  const { cacheHit, cacheMiss } = statistics;
  const counts = (): readonly number[] => [cacheHit.count, cacheMiss.count];
  return { model, cache, executor, counts };
}

/** Lets all that can happen now happen. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A call, and what became of it. */
class Call {
  readonly abort = new AbortController();
  readonly value: number;
  result: Execution | undefined;
  error: unknown;
  ends = 0;
  done = Promise.resolve();

  constructor(executor: Executor, value: number, options: Partial<TensorCall["options"]> = {}) {
    this.value = value;
    const answered = (async () =>
      executor.execute(localCall(this.abort.signal), callOf(value, options)))();
    this.done = answered.then(
      (result) => {
        this.result = result;
        this.ends++;
      },
      (error: unknown) => {
        this.error = error;
        this.ends++;
      },
    );
  }

  get reason(): string | undefined {
    return this.error instanceof TensorwireError ? this.error.reason : undefined;
  }
}

test("equal calls share a run, and later ones its answer", async (t) => {
  const { model, executor, counts, cache } = start();
  const calls = [1, 1, 2].map((value) => new Call(executor, value));
  await settled();
  t.is(model.runs.length, 2);
  t.is(executor.waiting, 1);
  model.runs[0]!.succeed();
  await calls[1]!.done;
  t.deepEqual(calls[0]!.result?.runRows, 1);
  t.true(calls[1]!.result?.fromCache);
  t.is(executor.waiting, 0);
  const later = executor.execute(localCall(), callOf(1));
  t.false(later instanceof Promise);
  t.is(valueIn(later as Execution), 101);
  t.is((later as Execution).runRows, 0);
  t.deepEqual(counts(), [2, 2]);
  model.runs[1]!.succeed();
  await calls[2]!.done;
  t.is(valueIn(calls[2]!.result!), 102);
  t.is(cache.entries, 2);
});

test("a run that answers at once is kept too, and no view on its batch", (t) => {
  const { model, executor } = start();
  model.immediate = true;
  const first = executor.execute(localCall(), callOf(1)) as Execution;
  t.is(first.outputs[0]!.bytes!.buffer.byteLength, 1);
  t.is(first.fromCache, undefined);
  const second = executor.execute(localCall(), callOf(1)) as Execution;
  t.is(second.outputs[0], first.outputs[0]);
  t.is(model.runs.length, 1);
});

test("the message of the first caller may go while the run that it began goes on", async (t) => {
  const { model, executor } = start();
  const message = Uint8Array.of(1);
  const tensors = { ...callOf(1), inputs: [{ ...input(1), bytes: message } as Tensor] };
  const abort = new AbortController();
  const first = executor.execute(localCall(abort.signal), tensors) as Promise<Execution>;
  const second = new Call(executor, 1);
  abort.abort();
  await t.throwsAsync(first, { message: /cancelled/ });
  // The buffer of a message is used again for the next one.
  message[0] = 9;
  model.runs[0]!.succeed();
  await second.done;
  t.is(valueIn(second.result!), 101);
  t.is(second.result!.runRows, 1, "the run is counted by whoever is left");
});

test("the last to leave cancels the run; an equal call after it begins anew", async (t) => {
  const { model, executor, cache } = start();
  const calls = [new Call(executor, 1), new Call(executor, 1)];
  t.is(executor.waiting, 1);
  calls[0]!.abort.abort();
  t.is(model.runs[0]!.call.aborted, undefined);
  t.is(executor.waiting, 0, "the one that is left is the model's own call");
  calls[1]!.abort.abort();
  t.is(model.runs[0]!.call.aborted, "cancelled");
  const after = new Call(executor, 1);
  t.is(model.runs.length, 2);
  model.runs[1]!.succeed();
  await Promise.all([...calls, after].map(({ done }) => done));
  t.deepEqual(
    calls.map(({ reason }) => reason),
    ["CALL_CANCELLED", "CALL_CANCELLED"],
  );
  t.is(valueIn(after.result!), 101);
  t.is(cache.entries, 1);
});

test("a run that fails fails those that wait for it, and is not kept", async (t) => {
  const { model, executor, cache } = start();
  const calls = [new Call(executor, 1), new Call(executor, 1)];
  model.runs[0]!.fail();
  await Promise.all(calls.map(({ done }) => done));
  for (const { error } of calls) t.is((error as Error).message, "the model failed");
  t.is(cache.entries, 0);
  const again = new Call(executor, 1);
  model.runs[1]!.succeed();
  await again.done;
  t.is(valueIn(again.result!), 101);
});

test("calls of another priority or patience have a run of their own, and share the answer", async (t) => {
  const { model, executor } = start();
  new Call(executor, 1);
  new Call(executor, 1, { priority: 1 });
  new Call(executor, 1, { timeoutMs: 5 });
  new Call(executor, 1, { timeoutMs: 5 });
  t.deepEqual(
    model.runs.map(({ tensors }) => [tensors.options.priority, tensors.options.timeoutMs]),
    [
      [0, 0],
      [1, 0],
      [0, 5],
    ],
  );
  model.runs[1]!.succeed();
  await settled();
  const later = executor.execute(localCall(), callOf(1, { priority: 2 })) as Execution;
  t.true(later.fromCache);
});

test("no more calls than the limit wait for the runs of others", async (t) => {
  const { model, executor } = start({ limit: 2 });
  const calls = [1, 1, 1, 1].map((value) => new Call(executor, value));
  await settled();
  t.is(calls[3]!.reason, "QUEUE_FULL");
  calls[2]!.abort.abort();
  await settled();
  const last = new Call(executor, 1);
  model.runs[0]!.succeed();
  await Promise.all([...calls, last].map(({ done }) => done));
  t.is(valueIn(last.result!), 101);
  t.is(model.runs.length, 1);
});

test("with preserve_ordering an answer from the cache waits for the runs before it", async (t) => {
  const { model, executor } = start({ preserveOrder: true });
  const order: string[] = [];
  const ask = (name: string, value: number): Call => {
    const call = new Call(executor, value);
    void call.done.then(() => order.push(name));
    return call;
  };
  const kept = new Call(executor, 1);
  model.runs[0]!.succeed();
  await kept.done;
  const calls = [ask("run", 2), ask("failing run", 3), ask("hit", 1), ask("run after", 4)];
  model.runs[3]!.succeed();
  await settled();
  t.deepEqual(order, []);
  model.runs[2]!.fail();
  await settled();
  t.deepEqual(order, ["failing run"]);
  model.runs[1]!.succeed();
  await Promise.all(calls.map(({ done }) => done));
  t.deepEqual(order, ["failing run", "run", "hit", "run after"]);
});

test("what the answers depend on is part of their key; where it is not known nothing is kept", async (t) => {
  const { model, executor, counts } = start();
  model.immediate = true;
  let identity = "1";
  model.identity = () => identity;
  await executor.execute(localCall(), callOf(1));
  identity = "2";
  await executor.execute(localCall(), callOf(1));
  await executor.execute(localCall(), callOf(1));
  t.is(model.runs.length, 2);
  model.identity = () => {
    throw new TensorwireError("MODEL_NOT_LOADED", "gone");
  };
  await executor.execute(localCall(), callOf(1));
  t.is(model.runs.length, 3);
  t.deepEqual(counts(), [1, 2]);
});

const large = (value: number): TensorCall => ({
  ...callOf(value),
  inputs: [
    {
      ...input(value),
      bytes: new Uint8Array(2 * 1024 * 1024).fill(value),
      shape: [2 * 1024 * 1024],
    } as Tensor,
  ],
});

test("a large call that leaves while its key is made does not reach the model", async (t) => {
  const { model, executor, counts } = start();
  const abort = new AbortController();
  const answer = executor.execute(localCall(abort.signal), large(1)) as Promise<Execution>;
  abort.abort();
  await t.throwsAsync(answer, { message: /cancelled before the call reached the model/ });
  t.is(model.runs.length, 0);
  t.deepEqual(counts(), [0, 0]);
});

test("large equal calls share a run and its answer", async (t) => {
  const { model, executor, counts } = start();
  const calls = [1, 1, 2].map((value) => executor.execute(localCall(), large(value)));
  while (model.runs.length < 2) await settled();
  for (const run of model.runs) run.succeed();
  const answers = await Promise.all(calls);
  t.deepEqual(answers.map(valueIn), [101, 101, 102]);
  t.is(valueIn(await executor.execute(localCall(), large(2))), 102);
  t.deepEqual(counts(), [2, 2]);
});

test("a model is not idle while the key of a call is made", async (t) => {
  const { model, executor } = start();
  model.immediate = true;
  const answer = executor.execute(localCall(), large(1));
  await executor.idle();
  t.is(model.runs.length, 1);
  t.is(valueIn(await answer), 101);
  // A key that nobody waits for any more holds nobody up.
  const abort = new AbortController();
  const left = executor.execute(localCall(abort.signal), large(2)) as Promise<Execution>;
  abort.abort();
  await Promise.all([executor.idle(), t.throwsAsync(left)]);
});

test("what a model says of itself is said of it behind a cache too", (t) => {
  const { model, executor } = start();
  t.is(executor.placement, model.placement);
  t.is(executor.memoryBytes, model.memoryBytes);
  t.is(executor.generations, undefined);
  const snapshot = {} as ReturnType<NonNullable<Executor["generations"]>>;
  const generating: Executor = {
    ...model,
    idle: model.idle,
    release: model.release,
    execute: () => {
      throw new Error("no call");
    },
    running: 0,
    generations: () => snapshot,
    identity: () => "7",
  };
  const cached = new CachedExecutor({
    model: "m",
    executor: generating,
    statistics: new ModelStatistics(),
    shelf: new ResponseCache(1).open(),
    limit: 1,
    preserveOrder: false,
    now: () => 0,
  });
  t.is(cached.generations?.(), snapshot);
  t.is(cached.identity?.(), "7");
});

test("release drops the answers, and one that comes later is not kept", async (t) => {
  const { model, executor, cache } = start();
  const calls = [new Call(executor, 1), new Call(executor, 2)];
  model.runs[0]!.succeed();
  await calls[0]!.done;
  t.is(cache.entries, 1);
  await executor.release();
  t.true(model.released);
  model.runs[1]!.succeed();
  await calls[1]!.done;
  t.is(valueIn(calls[1]!.result!), 102);
  t.is(cache.entries, 0);
});

const step = fc.oneof(
  { weight: 5, arbitrary: fc.record({ kind: fc.constant("call"), pick: fc.nat({ max: 3 }) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("cancel"), pick: fc.nat() }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("succeed"), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("fail"), pick: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("settle"), pick: fc.nat() }) },
);

test("any order of calls, cancels and ends of runs answers each call once, with its own", async (t) => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), fc.boolean(), async (steps, order) => {
      const { model, executor, counts } = start({ preserveOrder: order });
      const calls: Call[] = [];
      for (const { kind, pick } of steps) {
        const { open } = model;
        const waiting = calls.filter(({ ends }) => ends === 0);
        if (kind === "call") calls.push(new Call(executor, pick));
        else if (kind === "cancel") waiting[pick % waiting.length]?.abort.abort();
        else if (kind === "succeed") open[pick % open.length]?.succeed();
        else if (kind === "fail") open[pick % open.length]?.fail();
        else await settled();
        const values = model.open.map(({ value }) => value);
        t.is(new Set(values).size, values.length, "one run at a time for equal calls");
      }
      await settled();
      // A run goes on while somebody waits for it, and no longer.
      for (const run of model.open) {
        const waits = calls.some(({ ends, value }) => ends === 0 && value === run.value);
        t.true(waits);
      }
      for (const run of model.open) run.succeed();
      await Promise.all(calls.map(({ done }) => done));
      for (const call of calls) {
        t.is(call.ends, 1);
        if (call.result) t.is(valueIn(call.result), call.value + 100);
        else if (call.reason) t.true(call.abort.signal.aborted);
        else t.is((call.error as Error).message, "the model failed");
      }
      const [hits, misses] = counts();
      t.is(hits! + misses!, calls.length);
      t.is(misses, model.runs.length);
      const ran = calls.filter(({ result }) => result && !result.fromCache).length;
      t.true(ran <= model.runs.length);
      t.is(executor.waiting, 0);
    }),
    { numRuns: 300 },
  );
});
