import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { noOptions } from "../../../server/predictor/call-options.ts";
import {
  EnsembleExecutor,
  type RunStep,
} from "../../../server/predictor/ensemble/ensemble-executor.ts";
import type {
  EnsemblePlan,
  EnsembleStep,
} from "../../../server/predictor/ensemble/ensemble-plan.ts";
import type { CallAbort } from "../../../server/rpc/call-context.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";
import { localCall } from "../../support/call-context.ts";

/** A step whose inputs and outputs have the names of the ensemble's tensors. */
function step(model: string, inputs: readonly string[], outputs: readonly string[]): EnsembleStep {
  const same = (names: readonly string[]): ReadonlyMap<string, string> =>
    new Map(names.map((name) => [name, name]));
  return { model, version: "", inputs: same(inputs), outputs: same(outputs) };
}

/** A plan of steps that are in order. */
function planOf(...steps: readonly EnsembleStep[]): EnsemblePlan {
  const producers = steps.flatMap(({ outputs }, index) =>
    [...outputs.values()].map((tensor) => [tensor, index] as const),
  );
  return { steps, producers: new Map(producers) };
}

function tensor(name: string, value: number): Tensor {
  return {
    name,
    datatype: "FP32",
    shape: [1],
    bytes: new Uint8Array(Float32Array.of(value).buffer),
  };
}

function numberIn({ bytes }: Tensor): number {
  return Buffer.from(bytes!).readFloatLE();
}

/** A step under way, which the test ends. */
interface Begun {
  readonly model: string;
  readonly inputs: readonly Tensor[];
  readonly call: CallAbort;
  readonly answer: (value: number) => void;
  readonly fail: (error: unknown) => void;
}

/** Steps that end when the test says so; an abort ends them too. */
function manual(): { readonly run: RunStep; readonly begun: Begun[] } {
  const begun: Begun[] = [];
  const run: RunStep = ({ model }, inputs, outputNames, call) => {
    const { promise, resolve, reject } = Promise.withResolvers<readonly Tensor[]>();
    call.onAbort(() => reject(new TensorwireError("CALL_CANCELLED", `${model} was cancelled`, {})));
    const answer = (value: number): void => resolve(outputNames.map((name) => tensor(name, value)));
    begun.push({ model, inputs, call, answer, fail: reject });
    return promise;
  };
  return { run, begun };
}

const call = (inputs: readonly Tensor[], outputNames: readonly string[]) => ({
  inputs,
  outputNames,
  rows: 1,
  options: noOptions,
});

/** The models of the plan stay the same. */
const fixed = (): string => "";

/** Lets all that can happen now happen. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

const diamond = planOf(
  step("head", ["in"], ["middle"]),
  step("left", ["middle"], ["l"]),
  step("right", ["middle"], ["r"]),
  step("tail", ["l", "r"], ["out"]),
);

test("a step begins when its tensors are there, and steps apart run at once", async (t) => {
  const { run, begun } = manual();
  const executor = new EnsembleExecutor("graph", diamond, run, fixed);
  const answer = executor.execute(localCall(), call([tensor("in", 1)], ["out"]));
  await settled();
  t.deepEqual(
    begun.map(({ model }) => model),
    ["head"],
  );
  begun[0]!.answer(2);
  await settled();
  t.deepEqual(
    begun.slice(1).map(({ model }) => model),
    ["left", "right"],
  );
  begun[2]!.answer(20);
  await settled();
  t.is(begun.length, 3);
  begun[1]!.answer(10);
  await settled();
  t.deepEqual(begun[3]!.inputs.map(numberIn), [10, 20]);
  // By reference: what one step made is what the next one takes.
  t.is(begun[1]!.inputs[0]!.bytes, begun[2]!.inputs[0]!.bytes);
  t.is(executor.running, 1);
  begun[3]!.answer(5);
  t.is(numberIn((await answer).outputs[0]!), 5);
  t.is(executor.running, 0);
});

test("steps that no requested output needs do not run", async (t) => {
  const { run, begun } = manual();
  const executor = new EnsembleExecutor("graph", diamond, run, fixed);
  const answer = executor.execute(localCall(), call([tensor("in", 1)], ["l", "in"]));
  await settled();
  begun[0]!.answer(2);
  await settled();
  begun[1]!.answer(3);
  t.deepEqual((await answer).outputs.map(numberIn), [3, 1]);
  t.is(begun.length, 2);
});

test("the first failure is the call's error, names the step, and cancels the others", async (t) => {
  const { run, begun } = manual();
  const executor = new EnsembleExecutor("graph", diamond, run, fixed);
  const answer = executor.execute(localCall(), call([tensor("in", 1)], ["out"]));
  await settled();
  begun[0]!.answer(2);
  await settled();
  begun[2]!.fail(new TensorwireError("QUEUE_FULL", "no room", { model: "right" }));
  const error = await t.throwsAsync(answer, { instanceOf: TensorwireError });
  t.is(error?.reason, "QUEUE_FULL");
  t.regex(error?.message ?? "", /ensemble "graph": step "right" failed: no room/);
  t.is(begun[1]!.call.aborted, "cancelled");
  t.is(begun.length, 3);
  await executor.idle();
});

test("a model that is gone is the server's matter, not the caller's", async (t) => {
  const plan = planOf(step("gone", ["in"], ["out"]));
  const run = (): never => {
    throw new TensorwireError("MODEL_NOT_FOUND", "there is no model", {});
  };
  const executor = new EnsembleExecutor("graph", plan, run, fixed);
  const error = await t.throwsAsync(
    executor.execute(localCall(), call([tensor("in", 1)], ["out"])),
    { instanceOf: TensorwireError },
  );
  t.is(error?.reason, "MODEL_NOT_READY");
});

test("a cancelled call cancels its steps, and none begins after", async (t) => {
  const { run, begun } = manual();
  const executor = new EnsembleExecutor("graph", diamond, run, fixed);
  const abort = new AbortController();
  const answer = executor.execute(localCall(abort.signal), call([tensor("in", 1)], ["out"]));
  await settled();
  begun[0]!.answer(2);
  await settled();
  abort.abort();
  const error = await t.throwsAsync(answer, { instanceOf: TensorwireError });
  t.is(error?.reason, "CALL_CANCELLED");
  await settled();
  t.is(begun.length, 3);
  t.true(begun.slice(1).every(({ call: child }) => child.aborted === "cancelled"));
  await executor.idle();
  await t.throwsAsync(executor.execute(localCall(abort.signal), call([tensor("in", 1)], ["out"])), {
    instanceOf: TensorwireError,
  });
  t.is(begun.length, 3);
});

/** Graphs in which each step adds up some of the tensors before it, by their indices. */
const graph = fc
  .array(fc.array(fc.nat(), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 12 })
  .map((steps) =>
    steps.map((sources, index) => [...new Set(sources.map((at) => at % (index + 1)))]),
  );

test("any graph gives what adding up by hand gives, whatever order its steps end in", async (t) => {
  await fc.assert(
    fc.asyncProperty(graph, fc.array(fc.nat(), { maxLength: 12 }), async (steps, delays) => {
      const name = (index: number): string => (index === 0 ? "in" : `t${index}`);
      const plan = planOf(
        ...steps.map((sources, index) => step(`m${index}`, sources.map(name), [name(index + 1)])),
      );
      const expected = [1];
      for (const sources of steps) {
        expected.push(1 + sources.reduce((sum, at) => sum + expected[at]!, 0));
      }
      let runs = 0;
      const run: RunStep = async (_, inputs, outputNames) => {
        const turns = (delays[runs++] ?? 0) % 4;
        for (let turn = 0; turn < turns; turn++) await Promise.resolve();
        const sum = inputs.reduce((total, input) => total + numberIn(input), 1);
        return [tensor(outputNames[0]!, sum)];
      };
      const executor = new EnsembleExecutor("graph", plan, run, fixed);
      const wanted = steps.map((_, index) => name(index + 1));
      const { outputs } = await executor.execute(localCall(), call([tensor("in", 1)], wanted));
      if (outputs.map(numberIn).join() !== expected.slice(1).join())
        throw new Error("other values");
      if (outputs.map((output) => output.name).join() !== wanted.join())
        throw new Error("other names");
      if (runs !== steps.length) throw new Error(`${runs} runs`);
    }),
  );
  t.pass();
});
