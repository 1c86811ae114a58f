import { Code, ConnectError } from "@connectrpc/connect";
import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { CallQueue } from "../../server/predictor/call-queue.ts";
import { localCall } from "../support/call-context.ts";

/** A call whose task ends when the test says so. */
class Call {
  readonly abort = new AbortController();
  started = false;
  outcome: string | undefined;
  end: () => void = () => {};
  readonly done: Promise<void>;

  constructor(queue: CallQueue, order: number[], id: number) {
    this.done = queue
      .run(localCall(this.abort.signal), () => {
        this.started = true;
        order.push(id);
        return new Promise<number>((resolve) => {
          this.end = () => resolve(id);
        });
      })
      .then(
        (value) => {
          this.outcome = value === id ? "answered" : "answered wrongly";
        },
        (error: TensorwireError) => {
          this.outcome = error.reason;
        },
      );
  }
}

test("calls start in order, never above the slots, and each ends once in the way that its life says", async (t) => {
  const command = fc.oneof(
    fc.constant({ kind: "call" as const }),
    fc.record({ kind: fc.constant("end" as const), pick: fc.nat() }),
    fc.record({ kind: fc.constant("abort" as const), pick: fc.nat() }),
  );
  await t.notThrowsAsync(() =>
    fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 3 }),
        fc.nat(4),
        fc.array(command, { maxLength: 60 }),
        async (slots, limit, commands) => {
          const queue = new CallQueue("m", slots, limit);
          const order: number[] = [];
          const calls: Call[] = [];
          const aborted = new Set<Call>();
          const settle = async (): Promise<void> => {
            for (let turn = 0; turn < 5; turn++) await Promise.resolve();
          };
          for (const step of commands) {
            if (step.kind === "call") calls.push(new Call(queue, order, calls.length));
            else {
              const candidates = calls.filter((call) =>
                step.kind === "end" ? call.started : call.outcome === undefined,
              );
              const call = candidates[step.pick % Math.max(candidates.length, 1)];
              if (call && step.kind === "end") call.end();
              if (call && step.kind === "abort") {
                aborted.add(call);
                call.abort.abort();
              }
            }
            await settle();
            if (queue.running > slots || queue.waiting > limit) return false;
          }
          while (calls.some((call) => call.outcome === undefined)) {
            for (const call of calls) call.end();
            await settle();
          }
          for (const call of calls) call.end();
          await queue.idle();
          const sorted = order.every((id, index) => index === 0 || order[index - 1]! < id);
          const outcomes = calls.every((call) =>
            call.outcome === "CALL_CANCELLED"
              ? aborted.has(call)
              : call.outcome === "answered"
                ? call.started
                : call.outcome === "QUEUE_FULL" && !call.started,
          );
          return sorted && outcomes && queue.running === 0 && queue.waiting === 0;
        },
      ),
      { numRuns: 500 },
    ),
  );
});

test("a call beyond the limit is refused with the limit in its message", async (t) => {
  const queue = new CallQueue("m", 1, 0);
  const first = new Call(queue, [], 0);
  const error = await t.throwsAsync(
    queue.run(localCall(), async () => 1),
    { instanceOf: TensorwireError },
  );
  t.is(error?.reason, "QUEUE_FULL");
  t.regex(error?.message ?? "", /Exceeds maximum queue size of 0/);
  first.end();
  await first.done;
});

test("a call whose deadline passed before it came never starts", async (t) => {
  const queue = new CallQueue("m", 1, 1);
  const signal = AbortSignal.abort(new ConnectError("late", Code.DeadlineExceeded));
  let started = false;
  const error = await t.throwsAsync(
    queue.run(localCall(signal), async () => {
      started = true;
    }),
    { instanceOf: TensorwireError },
  );
  t.is(error?.reason, "DEADLINE_EXCEEDED");
  t.false(started);
});

test("a deadline that passes in the queue answers at once and frees the place", async (t) => {
  const queue = new CallQueue("m", 1, 1);
  const first = new Call(queue, [], 0);
  const second = new Call(queue, [], 1);
  second.abort.abort(new ConnectError("late", Code.DeadlineExceeded));
  await second.done;
  t.is(second.outcome, "DEADLINE_EXCEEDED");
  t.false(second.started);
  t.is(queue.waiting, 0);
  first.end();
  await queue.idle();
});

test("a failing task rejects its own call alone", async (t) => {
  const queue = new CallQueue("m", 1, 2);
  const failing = queue.run(localCall(), () => Promise.reject(new Error("no")));
  const next = queue.run(localCall(), async () => 2);
  await t.throwsAsync(failing, { message: "no" });
  t.is(await next, 2);
});
