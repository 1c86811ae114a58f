import test from "ava";
import fc from "fast-check";
import type { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import {
  createGenerationLoop,
  type GenerationLoop,
  type GenerationTask,
} from "../../server/generation/generation-loop.ts";
import type {
  FinishReason,
  GenerationObservation,
} from "../../server/generation/generation-observation.ts";
import { checkParameters } from "../../server/generation/generation-parameters.ts";
import { samplingState } from "../../server/generation/sampler.ts";
import { continuation, type RecordingModel, recordingModel } from "../support/step-model.ts";
import { type VirtualClock, virtualClock } from "../support/virtual-clock.ts";

interface Bench {
  readonly loop: GenerationLoop;
  readonly model: RecordingModel;
  readonly clock: VirtualClock;
  readonly observations: GenerationObservation[];
  /** Lets the loop take one step, if it wants to. */
  step(): Promise<void>;
  /** Lets it go on until it sleeps. */
  finish(): Promise<void>;
}

interface BenchOptions {
  readonly slots?: number;
  readonly maxWaiting?: number;
  readonly prefillTokens?: number;
  readonly contextLength?: number;
}

function bench(options: BenchOptions = {}): Bench {
  const { slots = 2, maxWaiting = 3, prefillTokens = 4, contextLength = 32 } = options;
  const model = recordingModel(slots, contextLength);
  const clock = virtualClock();
  const observations: GenerationObservation[] = [];
  let go: (() => void) | undefined;
  const loop = createGenerationLoop({
    model,
    name: "m",
    maxWaiting,
    prefillTokens,
    clock,
    turn: () =>
      new Promise((resolve) => {
        go = resolve;
      }),
    observe: (observation) => observations.push(observation),
  });
  const step = async (): Promise<void> => {
    const resolve = go;
    go = undefined;
    resolve?.();
    // Everything that the step leads to has happened when the microtasks are through.
    await new Promise((resume) => setImmediate(resume));
  };
  return {
    loop,
    model,
    clock,
    observations,
    step,
    async finish() {
      for (let count = 0; go && count < 10_000; count++) await step();
    },
  };
}

interface Run {
  readonly tokens: number[];
  readonly ends: (FinishReason | TensorwireError["reason"])[];
  cancel(): void;
}

type TaskOptions = Partial<Pick<GenerationTask, "maxTokens" | "timeoutMs" | "accept">>;

function submit({ loop }: Bench, prompt: readonly number[], options: TaskOptions = {}): Run {
  const parameters = checkParameters({ temperature: 0 }, () => 1n);
  const run: Run = { tokens: [], ends: [], cancel: () => {} };
  run.cancel = loop.submit({
    prompt,
    maxTokens: options.maxTokens ?? Number.POSITIVE_INFINITY,
    sampling: samplingState(parameters, prompt),
    timeoutMs: options.timeoutMs,
    accept(choice) {
      run.tokens.push(choice.token);
      return options.accept?.(choice) ?? (choice.token === 0 ? "stop" : "more");
    },
    finished: (reason) => run.ends.push(reason),
    failed: ({ reason }) => run.ends.push(reason),
  });
  return run;
}

async function closed(b: Bench): Promise<void> {
  const closing = b.loop.close();
  await b.finish();
  await closing;
}

const endless = { accept: () => "more" as const };

const task = fc.record({
  prompt: fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 20 }),
  maxTokens: fc.integer({ min: 1, max: 12 }),
  timeoutMs: fc.option(fc.integer({ min: 1, max: 50 }), { nil: undefined }),
});

const event = fc.oneof(
  { weight: 4, arbitrary: fc.record({ kind: fc.constant("submit" as const), task }) },
  { weight: 8, arbitrary: fc.constant({ kind: "step" as const }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("cancel" as const), which: fc.nat(30) }) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("wait" as const),
      ms: fc.integer({ min: 1, max: 20 }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("fail" as const),
      what: fc.constantFrom("step" as const, "row" as const),
    }),
  },
);

test("whatever comes, every generation ends once, with the tokens that it would have had alone, and slots are free again", async (t) => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(event, { maxLength: 60 }),
      fc.record({
        slots: fc.integer({ min: 1, max: 4 }),
        maxWaiting: fc.integer({ min: 0, max: 4 }),
        prefillTokens: fc.integer({ min: 1, max: 8 }),
      }),
      async (events, options) => {
        const b = bench({ ...options, contextLength: 24 });
        const runs: {
          readonly run: Run;
          readonly prompt: readonly number[];
          readonly maxTokens: number;
        }[] = [];
        let refused = 0;
        for (const each of events) {
          switch (each.kind) {
            case "submit": {
              const { prompt, ...limits } = each.task;
              const { running, waiting } = b.observations.at(-1)!;
              const isFull = running === options.slots && waiting >= options.maxWaiting;
              try {
                runs.push({ run: submit(b, prompt, limits), prompt, maxTokens: limits.maxTokens });
                if (isFull) return false;
              } catch (error) {
                if ((error as TensorwireError).reason !== "QUEUE_FULL") throw error;
                // With slots that no step has given back yet there may be less room than it seems.
                refused++;
              }
              break;
            }
            case "step":
              await b.step();
              break;
            case "cancel":
              runs[each.which]?.run.cancel();
              break;
            case "wait":
              b.clock.advance(each.ms);
              break;
            case "fail":
              b.model.failNext(each.what);
          }
        }
        await b.finish();
        const last = b.observations.at(-1)!;
        const sum = (of: (observation: GenerationObservation) => number): number =>
          b.observations.reduce((total, observation) => total + of(observation), 0);
        const ended = b.observations.flatMap((observation) => observation.ended);
        return (
          runs.length + refused === events.filter(({ kind }) => kind === "submit").length &&
          runs.every(({ run, prompt, maxTokens }) => {
            const alone = continuation(prompt, Math.min(maxTokens, 24 - prompt.length + 1));
            const [end] = run.ends;
            const whole = end === "stop" || end === "length";
            return (
              run.ends.length === 1 &&
              run.tokens.every((token, index) => token === alone[index]) &&
              (!whole || run.tokens.length === alone.length) &&
              (end !== "stop" || run.tokens.at(-1) === 0) &&
              (end !== "MODEL_EXECUTION_FAILED" || events.some(({ kind }) => kind === "fail"))
            );
          }) &&
          last.running === 0 &&
          last.waiting === 0 &&
          last.cacheUsage === 0 &&
          b.model.texts.size === 0 &&
          b.observations.every(
            ({ running, waiting, cacheUsage }) =>
              running <= options.slots &&
              // One that is to begin at once is among those that wait for the time of its submission only.
              waiting <= options.maxWaiting &&
              cacheUsage <= 1,
          ) &&
          b.model.steps.every((rows) => {
            const prefill = rows.filter(({ tokens }) => tokens.length > 1);
            const tokens = prefill.reduce((total, row) => total + row.tokens.length, 0);
            return rows.length <= options.slots && tokens <= options.prefillTokens;
          }) &&
          ended.length === runs.length &&
          sum(({ generatedTokens }) => generatedTokens) ===
            runs.reduce((total, { run }) => total + run.tokens.length, 0) &&
          sum(({ timesToFirstToken }) => timesToFirstToken.length) ===
            runs.filter(({ run }) => run.tokens.length > 0).length &&
          b.clock.due().length === 0
        );
      },
    ),
    { numRuns: 400 },
  );
  t.pass();
});

test("first come, first served: slots go to those who wait in their order", async (t) => {
  const b = bench({ slots: 1, maxWaiting: 9 });
  const order: number[] = [];
  const runs = Array.from({ length: 8 }, (_, index) =>
    submit(b, [1, 2, index % 5], {
      maxTokens: 2,
      accept() {
        order.push(index);
        return "more";
      },
    }),
  );
  await b.finish();
  t.deepEqual(
    order,
    runs.flatMap((_, index) => [index, index]),
  );
});

test("each step gives every running generation a token while long prompts come in by their share", async (t) => {
  const b = bench({ slots: 3, prefillTokens: 4, contextLength: 100 });
  const short = submit(b, [1], endless);
  await b.step();
  t.is(short.tokens.length, 1);
  const long = submit(b, Array(10).fill(2), endless);
  const other = submit(b, Array(6).fill(3), endless);
  const counts: number[][] = [];
  for (let step = 0; step < 5; step++) {
    await b.step();
    counts.push([short.tokens.length, long.tokens.length, other.tokens.length]);
  }
  // 4, 4 and 2 of the long prompt, then 2 and 4 of the other: the oldest goes first.
  t.deepEqual(counts, [
    [2, 0, 0],
    [3, 0, 0],
    [4, 1, 0],
    [5, 2, 1],
    [6, 3, 2],
  ]);
  t.deepEqual(
    b.model.steps.slice(1, 5).map((rows) => rows.map(({ tokens }) => tokens.length)),
    [
      [1, 4],
      [1, 4],
      [1, 2, 2],
      [1, 1, 4],
    ],
  );
  await closed(b);
});

test("one that comes while others run joins the next step, and one that is cancelled is not in it", async (t) => {
  const b = bench({ slots: 2 });
  const first = submit(b, [1], endless);
  await b.step();
  submit(b, [2], endless);
  await b.step();
  t.is(b.model.steps.at(-1)?.length, 2);
  first.cancel();
  t.deepEqual(first.ends, ["cancelled"]);
  const third = submit(b, [3], endless);
  await b.step();
  t.is(b.model.steps.at(-1)?.length, 2);
  t.is(third.tokens.length, 1);
  // What is over is over.
  first.cancel();
  t.deepEqual(first.ends, ["cancelled"]);
  await closed(b);
});

test("a generation that is cancelled within a step keeps its slot until the step is through", async (t) => {
  const b = bench({ slots: 1 });
  let waiter: Run | undefined;
  const run = submit(b, [1], {
    accept() {
      run.cancel();
      // Its row is still being read.
      waiter = submit(b, [2], endless);
      t.is(b.observations.at(-1)?.running, 1);
      return "more";
    },
  });
  await b.step();
  t.deepEqual(run.ends, ["cancelled"]);
  await b.step();
  t.is(waiter?.tokens.length, 1);
  t.deepEqual(b.model.texts.get(0), [2]);
  await closed(b);
});

test("a deadline ends one that waits, and one that runs, and says where it was", async (t) => {
  const b = bench({ slots: 1 });
  const messages: string[] = [];
  const begin = (prompt: readonly number[], timeoutMs: number): void => {
    b.loop.submit({
      prompt,
      maxTokens: 99,
      sampling: samplingState(
        checkParameters({ temperature: 0 }, () => 1n),
        prompt,
      ),
      timeoutMs,
      accept: () => "more",
      finished: (reason) => messages.push(reason),
      failed: ({ reason, message }) => messages.push(`${reason} ${message}`),
    });
  };
  begin([1], 100);
  begin([2], 50);
  await b.step();
  b.clock.advance(50);
  t.is(messages.length, 1);
  t.regex(messages[0]!, /^DEADLINE_EXCEEDED .*while it waited for a slot/);
  await b.step();
  b.clock.advance(50);
  t.regex(messages[1]!, /^DEADLINE_EXCEEDED .*after 2 tokens/);
  await b.finish();
  t.is(b.observations.at(-1)?.running, 0);
});

test("a row that fails ends its generation, a step that fails ends all in it, and others go on", async (t) => {
  const b = bench({ slots: 2, maxWaiting: 2 });
  const runs = [[1], [2], [3]].map((prompt) => submit(b, prompt, endless));
  b.model.failNext("row");
  await b.step();
  t.deepEqual(runs[0]?.ends, ["MODEL_EXECUTION_FAILED"]);
  t.deepEqual(runs[1]?.tokens, continuation([2], 1));
  b.model.failNext("step");
  await b.step();
  t.deepEqual(
    runs.map(({ ends }) => ends),
    [["MODEL_EXECUTION_FAILED"], ["MODEL_EXECUTION_FAILED"], ["MODEL_EXECUTION_FAILED"]],
  );
  const after = submit(b, [1, 2], { maxTokens: 3 });
  await b.finish();
  t.deepEqual(after.tokens, continuation([1, 2], 3));
  t.is(b.model.texts.size, 0);
});

test("what accept throws fails its generation alone", async (t) => {
  const b = bench();
  const bad = submit(b, [1], {
    accept() {
      throw new Error("no");
    },
  });
  const good = submit(b, [2], { maxTokens: 2 });
  await b.finish();
  t.deepEqual(bad.ends, ["INTERNAL"]);
  t.deepEqual(good.tokens, continuation([2], 2));
});

test("close fails all, waits for the step under way, and takes nothing more", async (t) => {
  const b = bench({ slots: 1 });
  const runs = [submit(b, [1], endless), submit(b, [2], endless)];
  await b.step();
  const closed = b.loop.close();
  t.deepEqual(
    runs.map(({ ends }) => ends),
    [["MODEL_NOT_READY"], ["MODEL_NOT_READY"]],
  );
  await b.finish();
  await closed;
  t.throws(() => submit(b, [1]), { message: /is being unloaded/ });
});

test("times are those of the clock: to the first token from submission, then between tokens", async (t) => {
  const b = bench({ slots: 1 });
  submit(b, [1], { ...endless, maxTokens: 3 });
  b.clock.advance(30);
  await b.step();
  b.clock.advance(4);
  await b.step();
  b.clock.advance(6);
  await b.step();
  const all = (of: (each: GenerationObservation) => readonly number[]): number[] =>
    b.observations.flatMap(of);
  t.deepEqual(
    all(({ timesToFirstToken }) => timesToFirstToken),
    [0.03],
  );
  t.deepEqual(
    all(({ interTokenLatencies }) => interTokenLatencies),
    [0.004, 0.006],
  );
  t.deepEqual(
    b.observations.flatMap(({ ended }) => ended),
    [{ reason: "length", seconds: 0.04 }],
  );
  t.is(
    b.observations.reduce((sum, { promptTokens }) => sum + promptTokens, 0),
    1,
  );
});
