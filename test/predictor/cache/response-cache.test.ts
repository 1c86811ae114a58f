import test from "ava";
import fc from "fast-check";
import { keptBytes } from "../../../server/predictor/cache/kept-tensors.ts";
import { type CacheShelf, ResponseCache } from "../../../server/predictor/cache/response-cache.ts";
import type { Tensor } from "../../../server/tensor/tensor.ts";

function answer(size: number): readonly Tensor[] {
  return [{ name: "y", datatype: "UINT8", shape: [size], bytes: new Uint8Array(size) }];
}

/** What an answer of so many bytes takes in all; by the formula of docs/caching.md. */
const taken = (size: number): number => 512 + 512 + size;

interface Kept {
  readonly shelf: number;
  readonly key: string;
  readonly outputs: readonly Tensor[];
  readonly bytes: number;
}

/** The same as a list from the answer that was used longest ago to the last one. */
class PlainCache {
  list: Kept[] = [];
  evictions = 0;
  tooLarge = 0;
  readonly closed = new Set<number>();
  readonly limit: number;

  constructor(limit: number) {
    this.limit = limit;
  }

  get bytes(): number {
    return this.list.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  find(shelf: number, key: string): readonly Tensor[] | undefined {
    const at = this.list.findIndex((kept) => kept.shelf === shelf && kept.key === key);
    if (at === -1) return undefined;
    const [found] = this.list.splice(at, 1);
    this.list.push(found!);
    return found!.outputs;
  }

  keep(shelf: number, key: string, outputs: readonly Tensor[], bytes: number): void {
    if (this.closed.has(shelf)) return;
    this.list = this.list.filter((kept) => kept.shelf !== shelf || kept.key !== key);
    if (bytes > this.limit) {
      this.tooLarge++;
      return;
    }
    while (this.bytes + bytes > this.limit) {
      this.list.shift();
      this.evictions++;
    }
    this.list.push({ shelf, key, outputs, bytes });
  }

  close(shelf: number): void {
    this.closed.add(shelf);
    this.list = this.list.filter((kept) => kept.shelf !== shelf);
  }
}

const step = fc.record({
  kind: fc.constantFrom("find", "find", "keep", "keep", "keep", "close"),
  shelf: fc.nat({ max: 3 }),
  key: fc.constantFrom("a", "b", "c", "d", "e"),
  size: fc.nat({ max: 9000 }),
});

test("any order of calls leaves what a plain list of the last used would have", (t) => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), (steps) => {
      const limit = 8192;
      const cache = new ResponseCache(limit);
      const plain = new PlainCache(limit);
      const shelves: CacheShelf[] = [0, 1, 2, 3].map(() => cache.open());
      for (const { kind, shelf, key, size } of steps) {
        if (kind === "find") {
          if (shelves[shelf]!.find(key) !== plain.find(shelf, key)) return false;
        } else if (kind === "keep") {
          const outputs = answer(size);
          shelves[shelf]!.keep(key, outputs);
          plain.keep(shelf, key, outputs, taken(size));
        } else {
          shelves[shelf]!.close();
          plain.close(shelf);
        }
        const same =
          cache.bytes === plain.bytes &&
          cache.bytes <= limit &&
          cache.entries === plain.list.length &&
          cache.evictions === plain.evictions &&
          cache.tooLarge === plain.tooLarge;
        if (!same) return false;
      }
      return true;
    }),
    { numRuns: 500 },
  );
  t.pass();
});

test("an answer of one model makes room by taking that of another which was used longest ago", (t) => {
  const cache = new ResponseCache(2 * taken(10));
  const [one, other] = [cache.open(), cache.open()];
  one.keep("k", answer(10));
  other.keep("k", answer(10));
  t.truthy(one.find("k"));
  one.keep("l", answer(10));
  t.is(other.find("k"), undefined);
  t.truthy(one.find("k"));
  t.is(cache.evictions, 1);
});

test("an answer takes its elements, and the objects around them", (t) => {
  const elements = [new Uint8Array(3), new Uint8Array(0)];
  t.is(
    keptBytes([{ name: "y", datatype: "BYTES", shape: [2], elements }]),
    512 + 512 + 2 * 160 + 3,
  );
  t.is(keptBytes([]), 512);
});
