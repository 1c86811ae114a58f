import type { Tensor } from "../../tensor/tensor.ts";
import { keptBytes } from "./kept-tensors.ts";

/** An answer that is kept; linked to those that were used before and after it. */
interface Entry {
  readonly shelf: Shelf | undefined;
  readonly key: string;
  readonly outputs: readonly Tensor[];
  readonly bytes: number;
  older: Entry;
  newer: Entry;
}

/** Answers of one loaded model version. */
export interface CacheShelf {
  /** The answer under a key, which counts as used now; `undefined` if there is none. */
  find(key: string): readonly Tensor[] | undefined;
  /**
   * Keeps an answer, in place of one with the same key. Answers that were not used for longest go, whichever
   * model they are of, until there is room.
   *
   * @param outputs - own their memory, all of it, and are not changed any more
   */
  keep(key: string, outputs: readonly Tensor[]): void;
  /** Drops its answers; it keeps no more from now on. */
  close(): void;
}

/**
 * Answers of models, bounded in bytes over all models. What is counted is what an answer takes in memory, its
 * key and the objects around it included.
 */
export class ResponseCache {
  readonly limitBytes: number;
  /** Answers that went to make room for others. */
  evictions = 0;
  /** Answers that were larger than all of the cache, and so were not kept. */
  tooLarge = 0;
  #bytes = 0;
  #entries = 0;
  /** Its `newer` is the entry that was used longest ago, its `older` the one that was used last. */
  readonly #ends: Entry;

  /** @param limitBytes - 1 or more */
  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
    const ends = { shelf: undefined, key: "", outputs: [], bytes: 0 } as unknown as Entry;
    ends.older = ends;
    ends.newer = ends;
    this.#ends = ends;
  }

  /** Bytes that the answers take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Answers that are kept. */
  get entries(): number {
    return this.#entries;
  }

  /** A shelf for the answers of one more model version. */
  open(): CacheShelf {
    return new Shelf({
      use: (entry) => {
        unlink(entry);
        this.#linkLast(entry);
      },
      add: (shelf, key, outputs) => this.#add(shelf, key, outputs),
      drop: (entry) => this.#drop(entry),
    });
  }

  #add(shelf: Shelf, key: string, outputs: readonly Tensor[]): Entry | undefined {
    const bytes = keptBytes(outputs);
    if (bytes > this.limitBytes) {
      this.tooLarge++;
      return undefined;
    }
    while (this.#bytes + bytes > this.limitBytes) {
      const oldest = this.#ends.newer;
      oldest.shelf?.forget(oldest.key);
      this.#drop(oldest);
      this.evictions++;
    }
    const entry: Entry = { shelf, key, outputs, bytes, older: this.#ends, newer: this.#ends };
    this.#linkLast(entry);
    this.#bytes += bytes;
    this.#entries++;
    return entry;
  }

  #drop(entry: Entry): void {
    unlink(entry);
    this.#bytes -= entry.bytes;
    this.#entries--;
  }

  #linkLast(entry: Entry): void {
    const ends = this.#ends;
    entry.older = ends.older;
    entry.newer = ends;
    ends.older.newer = entry;
    ends.older = entry;
  }
}

function unlink(entry: Entry): void {
  entry.older.newer = entry.newer;
  entry.newer.older = entry.older;
}

/** What a shelf does to the order of all entries and to their sum. */
interface Order {
  readonly use: (entry: Entry) => void;
  readonly add: (shelf: Shelf, key: string, outputs: readonly Tensor[]) => Entry | undefined;
  readonly drop: (entry: Entry) => void;
}

class Shelf implements CacheShelf {
  readonly #order: Order;
  readonly #entries = new Map<string, Entry>();
  #closed = false;

  constructor(order: Order) {
    this.#order = order;
  }

  find(key: string): readonly Tensor[] | undefined {
    const entry = this.#entries.get(key);
    if (!entry) return undefined;
    this.#order.use(entry);
    return entry.outputs;
  }

  keep(key: string, outputs: readonly Tensor[]): void {
    if (this.#closed) return;
    const before = this.#entries.get(key);
    if (before) {
      this.#entries.delete(key);
      this.#order.drop(before);
    }
    const entry = this.#order.add(this, key, outputs);
    if (entry) this.#entries.set(key, entry);
  }

  close(): void {
    this.#closed = true;
    for (const entry of this.#entries.values()) this.#order.drop(entry);
    this.#entries.clear();
  }

  /** Its entry under the key went to make room. */
  forget(key: string): void {
    this.#entries.delete(key);
  }
}
