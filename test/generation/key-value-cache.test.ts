import test from "ava";
import fc from "fast-check";
import { KeyValueCache } from "../../server/generation/key-value-cache.ts";

const shape = { slots: 5, layers: 2, heads: 2, headSize: 3, contextLength: 150 };
const { slots, layers, heads, headSize, contextLength } = shape;
const blocks = 2 * layers;

/** What a slot is to hold: for each token a number that no other token has. */
class Expected {
  readonly tokens: number[][] = Array.from({ length: slots }, () => []);
  #next = 1;

  take(slot: number, count: number): number[] {
    const taken = Array.from({ length: count }, () => this.#next++);
    this.tokens[slot]!.push(...taken);
    return taken;
  }
}

/** Contents of a cell: differs by token, block, head and place; exact in FP32. */
const cell = (token: number, block: number, head: number, place: number) =>
  ((token * blocks + block) * heads + head) * headSize + place;

function newCells(rows: readonly (readonly number[])[]): Float32Array[] {
  return Array.from({ length: blocks }, (_, block) =>
    Float32Array.from(
      rows.flatMap((tokens) =>
        Array.from({ length: heads }, (_, head) =>
          tokens.map((token) =>
            Array.from({ length: headSize }, (_, place) => cell(token, block, head, place)),
          ),
        ).flat(2),
      ),
    ),
  );
}

/** Tokens that the graph would see in a row, told from the contents; all cells behind them are 0. */
function seen(cache: KeyValueCache, slot: number, wanted: readonly number[]): boolean {
  return cache.past(cache.rowOf(slot), 1).every(({ bytes, shape: given }, block) => {
    const cells = given[2]!;
    const values = new Float32Array(bytes!.buffer, bytes!.byteOffset, bytes!.byteLength / 4);
    return values.every((value, index) => {
      const place = index % headSize;
      const at = Math.floor(index / headSize) % cells;
      const head = Math.floor(index / headSize / cells);
      const token = wanted[at];
      return value === (token === undefined ? 0 : cell(token, block, head, place));
    });
  });
}

type Action =
  | { readonly kind: "one"; readonly slots: readonly number[] }
  | { readonly kind: "prompt"; readonly slot: number; readonly count: number }
  | { readonly kind: "release"; readonly slot: number };

const slot = fc.nat({ max: slots - 1 });
const action: fc.Arbitrary<Action> = fc.oneof(
  fc.record({
    kind: fc.constant("one" as const),
    slots: fc.uniqueArray(slot, { minLength: 1, maxLength: slots }),
  }),
  fc.record({
    kind: fc.constant("prompt" as const),
    slot,
    count: fc.integer({ min: 2, max: 70 }),
  }),
  fc.record({ kind: fc.constant("release" as const), slot }),
);

test("each slot keeps its own cells while rows swap, grow and shrink", (t) => {
  fc.assert(
    fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
      const cache = new KeyValueCache(shape);
      const expected = new Expected();
      const room = (of: number) => contextLength - expected.tokens[of]!.length;
      for (const step of actions) {
        switch (step.kind) {
          case "one": {
            const going = step.slots.filter((each) => room(each) > 0);
            if (going.length === 0) break;
            cache.reserve(going.map((each) => ({ slot: each, tokens: [0] })));
            cache.bringToFront(going);
            const rows: number[][] = [];
            for (const each of going) rows[cache.rowOf(each)] = expected.take(each, 1);
            // They stand side by side from the first row on.
            t.is(rows.length, going.length);
            cache.append(0, going.length, 1, newCells(rows));
            break;
          }
          case "prompt": {
            const count = Math.min(step.count, room(step.slot));
            if (count === 0) break;
            cache.reserve([{ slot: step.slot, tokens: new Array<number>(count).fill(0) }]);
            const tokens = expected.take(step.slot, count);
            cache.append(cache.rowOf(step.slot), 1, count, newCells([tokens]));
            break;
          }
          case "release":
            cache.release(step.slot);
            expected.tokens[step.slot] = [];
            break;
        }
        for (let each = 0; each < slots; each++) {
          t.is(cache.lengthOf(each), expected.tokens[each]!.length);
          t.true(seen(cache, each, expected.tokens[each]!));
        }
      }
    }),
    { numRuns: 200 },
  );
});

test("a row that has no room is refused before anything changes", (t) => {
  const cache = new KeyValueCache(shape);
  const tokens = new Array<number>(contextLength + 1).fill(0);
  t.throws(() => cache.reserve([{ slot: 0, tokens }]), {
    instanceOf: RangeError,
    message: /slot 0 would have 151 tokens, at most 150/,
  });
  t.is(cache.lengthOf(0), 0);
});

test("short texts are not computed over the whole context", (t) => {
  const cache = new KeyValueCache({ ...shape, contextLength: 4096 });
  cache.reserve([{ slot: 0, tokens: [1] }]);
  t.is(cache.past(0, 1)[0]!.shape[2], 64);
  cache.reserve([{ slot: 0, tokens: new Array<number>(65).fill(1) }]);
  t.is(cache.past(0, 1)[0]!.shape[2], 128);
});
