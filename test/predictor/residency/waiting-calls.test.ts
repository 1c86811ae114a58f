import test from "ava";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { WaitingCalls } from "../../../server/predictor/residency/waiting-calls.ts";
import type { ServedModel } from "../../../server/predictor/served-model.ts";
import { localCall } from "../../support/call-context.ts";
import { virtualClock } from "../../support/virtual-clock.ts";

const model = {} as ServedModel;
const noTurn = (): Promise<void> => Promise.resolve();

function line(limit = 2) {
  const clock = virtualClock();
  const waiting = new WaitingCalls({
    model: "m",
    limit,
    timeoutMs: 100,
    after: clock.after,
    yieldTurn: noTurn,
  });
  return { clock, waiting };
}

async function reasonOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return "none";
  } catch (error) {
    return error instanceof TensorwireError ? error.reason : String(error);
  }
}

test("calls begin in the order in which they came, each with its version, and their answers are theirs", async (t) => {
  const { waiting, clock } = line(3);
  const begun: string[] = [];
  const add = (name: string, version: string): Promise<string> =>
    waiting.add(version, localCall(), async () => {
      begun.push(name);
      return `answer of ${name}`;
    });
  const calls = [add("a", ""), add("b", "7"), add("c", "")];
  const asked: string[] = [];
  await waiting.begin((version) => {
    asked.push(version);
    if (version === "7") throw new Error("no such version");
    return model;
  });
  t.deepEqual(begun, ["a", "c"]);
  t.deepEqual(asked, ["", "7", ""]);
  t.is(await calls[0], "answer of a");
  await t.throwsAsync(calls[1]!, { message: "no such version" });
  t.is(await calls[2], "answer of c");
  t.is(waiting.size, 0);
  t.deepEqual(clock.due(), []);
});

test("more calls than may wait are refused", async (t) => {
  const { waiting } = line(2);
  const calls = [1, 2].map(() => waiting.add("", localCall(), () => 1));
  t.is(await reasonOf(waiting.add("", localCall(), () => 1)), "QUEUE_FULL");
  await waiting.begin(() => model);
  t.deepEqual(await Promise.all(calls), [1, 1]);
});

test("a call that waited too long, was cancelled, or came too late leaves, and the line says when all left", async (t) => {
  const { waiting, clock } = line(3);
  let abandoned = 0;
  waiting.onAbandoned = () => abandoned++;
  const caller = new AbortController();
  const cancelled = waiting.add("", localCall(caller.signal), () => 1);
  const late = waiting.add("", localCall(), () => 1);
  caller.abort();
  t.is(await reasonOf(cancelled), "CALL_CANCELLED");
  t.is(abandoned, 0);
  clock.advance(100);
  t.is(await reasonOf(late), "MODEL_LOAD_TIMEOUT");
  t.is(abandoned, 1);
  t.is(await reasonOf(waiting.add("", localCall(caller.signal), () => 1)), "CALL_CANCELLED");
  const expired = AbortSignal.abort(new DOMException("late", "TimeoutError"));
  t.is(await reasonOf(waiting.add("", localCall(expired), () => 1)), "DEADLINE_EXCEEDED");
  t.is(waiting.size, 0);
});

test("a failure reaches every call that waits", async (t) => {
  const { waiting } = line();
  const calls = [1, 2].map(() => waiting.add("", localCall(), () => 1));
  waiting.fail(new Error("broken"));
  for (const call of calls) await t.throwsAsync(call, { message: "broken" });
  t.is(waiting.size, 0);
});

test("a call that comes while others begin begins too", async (t) => {
  const { waiting } = line(4);
  let second: Promise<number> | undefined;
  const first = waiting.add("", localCall(), () => {
    second = waiting.add("", localCall(), () => 2);
    return 1;
  });
  await waiting.begin(() => model);
  t.is(await first, 1);
  t.is(await second, 2);
});
