import type { Tensor } from "../tensor/tensor.ts";
import { bytesOf } from "../tensor/typed-array.ts";
import type { RowStep } from "./step-model.ts";

/** Sizes of a cache of keys and values. */
export interface CacheShape {
  /** Texts that it holds. */
  readonly slots: number;
  readonly layers: number;
  readonly heads: number;
  readonly headSize: number;
  /** Tokens that a text has room for. */
  readonly contextLength: number;
}

/** Cells of a row that a run reads at least. */
const leastCells = 64;

/**
 * Keys and values of all slots: for each layer two blocks of [rows, heads, cells, head size], FP32, whose
 * memory is taken once for all slots and the whole context.
 *
 * A run reads some rows that stand side by side, so which row a slot has may change: rows are swapped
 * when slots join or leave the batch, which in most steps is never. Rows have as many cells as the
 * longest of them needs, in powers of two: short texts are not computed over the whole context, and rows
 * are laid out anew only when that doubles or halves.
 */
export class KeyValueCache {
  readonly #shape: CacheShape;
  /** Key and value of layer 0, key and value of layer 1, and so on. */
  readonly #blocks: readonly Float32Array[];
  readonly #names: readonly string[];
  readonly #rowOf: Int32Array;
  readonly #slotOf: Int32Array;
  readonly #lengths: Int32Array;
  readonly #swap: Float32Array;
  /** Cells that rows are laid out with. */
  #cells: number;

  constructor(shape: CacheShape) {
    const { slots, layers, heads, headSize, contextLength } = shape;
    this.#shape = shape;
    const size = slots * heads * contextLength * headSize;
    this.#blocks = Array.from({ length: 2 * layers }, () => new Float32Array(size));
    this.#names = this.#blocks.map(
      (_, index) => `past_${index % 2 === 0 ? "key" : "value"}_${index >> 1}`,
    );
    this.#rowOf = Int32Array.from({ length: slots }, (_, slot) => slot);
    this.#slotOf = this.#rowOf.slice();
    this.#lengths = new Int32Array(slots);
    this.#swap = new Float32Array(contextLength * headSize);
    this.#cells = Math.min(leastCells, contextLength);
  }

  /** Row that a slot has now. */
  rowOf(slot: number): number {
    return this.#rowOf[slot]!;
  }

  /** Cells that a slot has filled. */
  lengthOf(slot: number): number {
    return this.#lengths[slot]!;
  }

  /**
   * Makes room for the tokens of a step.
   *
   * @throws RangeError if a row has no room for them
   */
  reserve(steps: readonly RowStep[]): void {
    const { contextLength } = this.#shape;
    let longest = 0;
    for (const length of this.#lengths) longest = Math.max(longest, length);
    for (const { slot, tokens } of steps) {
      const length = this.#lengths[slot]! + tokens.length;
      if (length > contextLength) {
        throw new RangeError(`slot ${slot} would have ${length} tokens, at most ${contextLength}`);
      }
      longest = Math.max(longest, length);
    }
    let cells = Math.min(leastCells, contextLength);
    while (cells < longest) cells = Math.min(2 * cells, contextLength);
    if (cells !== this.#cells) this.#layOut(cells);
  }

  /** Gives these slots the first rows. */
  bringToFront(slots: readonly number[]): void {
    const count = slots.length;
    let row = 0;
    for (const slot of slots) {
      if (this.#rowOf[slot]! < count) continue;
      // There is a row for it: as many of the first rows are held by others as slots are behind them.
      while (slots.includes(this.#slotOf[row]!)) row++;
      this.#swapRows(row, this.#rowOf[slot]!);
    }
  }

  /** Inputs of a run over rows side by side; views that the next change of the cache changes. */
  past(firstRow: number, count: number): Tensor[] {
    const { heads, headSize } = this.#shape;
    const rowSize = heads * this.#cells * headSize;
    const shape = [count, heads, this.#cells, headSize];
    return this.#blocks.map((block, index) => ({
      name: this.#names[index]!,
      datatype: "FP32",
      shape,
      bytes: bytesOf(block.subarray(firstRow * rowSize, (firstRow + count) * rowSize)),
    }));
  }

  /**
   * Writes new cells of rows side by side.
   *
   * @param blocks - for each block [count, heads, added, head size]
   */
  append(firstRow: number, count: number, added: number, blocks: readonly Float32Array[]): void {
    const { heads, headSize } = this.#shape;
    const width = added * headSize;
    this.#blocks.forEach((block, index) => {
      const given = blocks[index]!;
      let from = 0;
      for (let row = firstRow; row < firstRow + count; row++) {
        const length = this.#lengths[this.#slotOf[row]!]!;
        for (let head = 0; head < heads; head++) {
          const to = ((row * heads + head) * this.#cells + length) * headSize;
          for (let place = 0; place < width; place++) block[to + place] = given[from + place]!;
          from += width;
        }
      }
    });
    for (let row = firstRow; row < firstRow + count; row++) {
      this.#lengths[this.#slotOf[row]!]! += added;
    }
  }

  /**
   * Empties a slot. Cells that are not filled are always 0: the graph gives them a share of 0, which would
   * not hide a NaN that a failed text left there.
   */
  release(slot: number): void {
    const { heads, headSize } = this.#shape;
    const rowSize = heads * this.#cells * headSize;
    const begin = this.#rowOf[slot]! * rowSize;
    for (const block of this.#blocks) block.fill(0, begin, begin + rowSize);
    this.#lengths[slot] = 0;
  }

  #swapRows(a: number, b: number): void {
    const { heads, headSize } = this.#shape;
    const slotA = this.#slotOf[a]!;
    const slotB = this.#slotOf[b]!;
    const width = Math.max(this.#lengths[slotA]!, this.#lengths[slotB]!) * headSize;
    const headWidth = this.#cells * headSize;
    for (const block of this.#blocks) {
      for (let head = 0; head < heads; head++) {
        const inA = (a * heads + head) * headWidth;
        const inB = (b * heads + head) * headWidth;
        this.#swap.set(block.subarray(inA, inA + width));
        block.copyWithin(inA, inB, inB + width);
        block.set(this.#swap.subarray(0, width), inB);
      }
    }
    this.#slotOf[a] = slotB;
    this.#slotOf[b] = slotA;
    this.#rowOf[slotA] = b;
    this.#rowOf[slotB] = a;
  }

  /** Moves what is in the rows to where it belongs with another number of cells. */
  #layOut(cells: number): void {
    const { slots, heads, headSize } = this.#shape;
    const before = this.#cells;
    const lines = slots * heads;
    const move = (line: number) => {
      const width = this.#lengths[this.#slotOf[Math.floor(line / heads)]!]! * headSize;
      const from = line * before * headSize;
      const to = line * cells * headSize;
      for (const block of this.#blocks) {
        block.copyWithin(to, from, from + width);
        block.fill(0, to + width, to + cells * headSize);
      }
    };
    // In the order in which nothing is overwritten that is still to be moved.
    if (cells > before) for (let line = lines - 1; line >= 0; line--) move(line);
    else for (let line = 0; line < lines; line++) move(line);
    this.#cells = cells;
  }
}
