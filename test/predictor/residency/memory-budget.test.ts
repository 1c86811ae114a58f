import test from "ava";
import fc from "fast-check";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { MemoryBudget, type Resident } from "../../../server/predictor/residency/memory-budget.ts";
import { until } from "../../support/until.ts";
import { type VirtualClock, virtualClock } from "../../support/virtual-clock.ts";

const never = new AbortController().signal;

interface Model {
  readonly name: string;
  readonly memoryBytes: number;
  readonly pinned: boolean;
  readonly lastUsedMs: number;
  readonly stayUntilMs: number;
  readonly holders: string[];
  busy: boolean;
  held: boolean;
  /** Called when the model is told to leave while it is busy. */
  onAsked: () => void;
}

/** Models in memory, and the order in which they left. */
function house(limitBytes: number, models: readonly Partial<Model>[], clock: VirtualClock) {
  const inside = new Map<string, Model>();
  const left: string[] = [];
  const idle = new Map<string, () => void>();
  for (const [index, given] of models.entries()) {
    const name = given.name ?? `m${index}`;
    inside.set(name, {
      name,
      memoryBytes: 10,
      pinned: false,
      busy: false,
      held: false,
      lastUsedMs: index,
      stayUntilMs: 0,
      holders: [],
      onAsked: () => {},
      ...given,
    });
  }
  const resident = (model: Model): Resident => ({
    ...model,
    holders: model.holders.flatMap((name) => {
      const holder = inside.get(name);
      return holder ? [resident(holder)] : [];
    }),
    async evict(signal) {
      const { name } = model;
      if (!inside.has(name)) return;
      if (model.busy) {
        model.onAsked();
        await new Promise<void>((resolve, reject) => {
          idle.set(name, resolve);
          signal.addEventListener("abort", () => reject(signal.reason));
        });
      }
      inside.delete(name);
      left.push(name);
    },
  });
  const budget = new MemoryBudget({
    limitBytes,
    residents: () => [...inside.values()].map(resident),
    timeoutMs: 1_000,
    now: clock.now,
    after: clock.after,
  });
  return { budget, inside, left, answer: (name: string) => idle.get(name)?.() };
}

test("those used least recently leave, and no more of them than needed", async (t) => {
  const { budget, left } = house(
    40,
    [{ lastUsedMs: 3 }, { lastUsedMs: 1 }, { lastUsedMs: 2 }, { lastUsedMs: 4 }],
    virtualClock(),
  );
  await budget.makeRoom("new", 20, never);
  t.deepEqual(left, ["m1", "m2"]);
});

test("room that is there takes nobody's", async (t) => {
  const { budget, left } = house(40, [{}, {}], virtualClock());
  await budget.makeRoom("new", 20, never);
  t.deepEqual(left, []);
});

test("a model without calls leaves before one with calls that was used longer ago", async (t) => {
  const { budget, left } = house(
    20,
    [{ busy: true, lastUsedMs: 1 }, { lastUsedMs: 9 }],
    virtualClock(),
  );
  await budget.makeRoom("new", 10, never);
  t.deepEqual(left, ["m1"]);
});

test("if all have calls, those of the least recently used one are answered first", async (t) => {
  const asked = Promise.withResolvers<void>();
  const { budget, left, answer } = house(
    10,
    [{ busy: true, onAsked: asked.resolve }],
    virtualClock(),
  );
  const room = budget.makeRoom("new", 10, never);
  await asked.promise;
  t.deepEqual(left, []);
  answer("m0");
  await room;
  t.deepEqual(left, ["m0"]);
});

test("a model with sequences stays until they are over; one with calls goes before it", async (t) => {
  const clock = virtualClock();
  const asked = Promise.withResolvers<void>();
  const { budget, left, inside, answer } = house(
    20,
    [{ held: true }, { busy: true, onAsked: asked.resolve }],
    clock,
  );
  const first = budget.makeRoom("new", 10, never);
  await asked.promise;
  answer("m1");
  await first;
  t.deepEqual(left, ["m1"]);
  const second = budget.makeRoom("newer", 20, never);
  clock.advance(900);
  await Promise.resolve();
  t.deepEqual(left, ["m1"]);
  inside.get("m0")!.held = false;
  await until(() => {
    clock.advance(50);
    return left.length === 2;
  });
  await second;
});

test("a model that was just loaded stays for its time, unless another may leave", async (t) => {
  const clock = virtualClock();
  const { budget, left } = house(20, [{ stayUntilMs: 50 }, { lastUsedMs: 9 }], clock);
  await budget.makeRoom("new", 10, never);
  t.deepEqual(left, ["m1"]);
  const room = budget.makeRoom("newer", 20, never);
  t.deepEqual(clock.due(), [50, 1_000]);
  clock.advance(50);
  await room;
  t.deepEqual(left, ["m1", "m0"]);
});

test("what cannot be had even if all left is refused at once, and nobody leaves", async (t) => {
  const { budget, left } = house(30, [{}, { pinned: true }], virtualClock());
  const error = await t.throwsAsync(budget.makeRoom("new", 25, never), {
    instanceOf: TensorwireError,
    message: /"new" needs 25 bytes .* may take 30, of which 10 are taken by models that stay/,
  });
  t.is(error?.reason, "MODEL_MEMORY_EXCEEDED");
  t.deepEqual(left, []);
});

test("an ensemble leaves before the models that it is made of, and keeps them if it stays", async (t) => {
  const { budget, left } = house(
    10,
    [
      { name: "step", holders: ["graph"] },
      { name: "graph", memoryBytes: 0 },
    ],
    virtualClock(),
  );
  await budget.makeRoom("new", 10, never);
  t.deepEqual(left, ["graph", "step"]);

  const kept = house(
    10,
    [
      { name: "step", holders: ["graph"] },
      { name: "graph", memoryBytes: 0, pinned: true },
    ],
    virtualClock(),
  );
  await t.throwsAsync(kept.budget.makeRoom("new", 10, never), { instanceOf: TensorwireError });
  t.deepEqual(kept.left, []);
});

test("the wait for memory has an end, and the model that was to leave stays", async (t) => {
  const clock = virtualClock();
  const asked = Promise.withResolvers<void>();
  const { budget, left } = house(10, [{ busy: true, onAsked: asked.resolve }], clock);
  const room = budget.makeRoom("new", 10, never);
  await asked.promise;
  clock.advance(1_000);
  const error = await t.throwsAsync(room, { instanceOf: TensorwireError });
  t.is(error?.reason, "MODEL_LOAD_TIMEOUT");
  t.deepEqual(left, []);
});

test("whoever gives up hears his own reason", async (t) => {
  const clock = virtualClock();
  const { budget } = house(10, [{ stayUntilMs: 500 }], clock);
  const given = new AbortController();
  const room = budget.makeRoom("new", 10, given.signal);
  given.abort(new Error("enough"));
  await t.throwsAsync(room, { message: "enough" });
  t.deepEqual(clock.due(), []);
});

test("whatever lives there, room is made or refused rightly, pinned ones stay, and the order is that of use", async (t) => {
  const model = fc.record({
    memoryBytes: fc.integer({ min: 0, max: 30 }),
    pinned: fc.boolean(),
    lastUsedMs: fc.integer({ min: 0, max: 1_000 }),
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(model, { maxLength: 8 }),
      fc.integer({ min: 0, max: 120 }),
      fc.integer({ min: 0, max: 60 }),
      async (models, spare, bytes) => {
        const used = models.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
        const limit = Math.max(used - 20 + spare, 1);
        const pinned = models.reduce((sum, m) => sum + (m.pinned ? m.memoryBytes : 0), 0);
        const { budget, inside, left } = house(limit, models, virtualClock());
        const possible = pinned + bytes <= limit;
        try {
          await budget.makeRoom("new", bytes, never);
          if (!possible) throw new Error("room was said to be there that cannot be");
          if (budget.usedBytes + bytes > limit) throw new Error("too little room was made");
        } catch (error) {
          if (!(error instanceof TensorwireError)) throw error;
          if (possible) throw new Error("refused, though there could be room");
          if (left.length > 0) throw new Error("somebody left for nothing");
        }
        const used_ = (name: string): number => models[Number(name.slice(1))]!.lastUsedMs;
        for (const [index, { pinned: stays }] of models.entries()) {
          if (stays && !inside.has(`m${index}`)) throw new Error("a pinned one left");
        }
        for (const [index, name] of left.entries()) {
          if (index > 0 && used_(name) < used_(left[index - 1]!)) throw new Error("out of order");
        }
        // The last one to leave was needed.
        const last = left.at(-1);
        if (last !== undefined) {
          const its = models[Number(last.slice(1))]!.memoryBytes;
          if (budget.usedBytes + its + bytes <= limit) throw new Error("one too many left");
        }
      },
    ),
  );
  t.pass();
});
