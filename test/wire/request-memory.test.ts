import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import {
  AccountedMemory,
  type MemoryAccount,
  MemoryBudget,
  memoryFull,
} from "../../server/wire/request-memory.ts";

/** An account of a budget alone. */
function accountOf(budget: MemoryBudget): MemoryAccount {
  return {
    reserve: (bytes) =>
      budget.take(bytes) ? undefined : memoryFull("server-memory", bytes, budget.limitBytes),
    unreserve: (bytes) => budget.give(bytes),
  };
}

test("requests hold together what they say, and never more than the budget", (t) => {
  const steps = fc.array(fc.tuple(fc.nat(4), fc.nat(50)), { maxLength: 100 });
  fc.assert(
    fc.property(steps, (holds) => {
      const budget = new MemoryBudget(100);
      const requests = Array.from({ length: 5 }, () => new AccountedMemory(accountOf(budget)));
      const held = [0, 0, 0, 0, 0];
      for (const [index, bytes] of holds) {
        const others = held.reduce((sum, each) => sum + each, 0) - held[index]!;
        const error = requests[index]!.hold(bytes);
        t.is(error === undefined, others + bytes <= 100 || bytes <= held[index]!);
        if (!error) held[index] = bytes;
        t.is(requests[index]!.heldBytes, held[index]!);
        t.is(
          budget.heldBytes,
          held.reduce((sum, each) => sum + each, 0),
        );
      }
      for (const request of requests) t.is(request.hold(0), undefined);
      t.is(budget.heldBytes, 0);
    }),
  );
});

test("the error says whose bound it is, and whether to call again", (t) => {
  const ofServer = memoryFull("server-memory", 5, 100);
  t.true(ofServer instanceof TensorwireError);
  t.like(ofServer, { reason: "SERVER_MEMORY_FULL" });
  t.like(ofServer.metadata, { givenBytes: "5", limitBytes: "100", retryAfterMs: "1000" });
  t.like(memoryFull("memory", 5, 100), { reason: "CONNECTION_MEMORY_FULL" });
});
