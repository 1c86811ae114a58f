/** Hands out numbers below a limit, always the lowest that is free. */
export class LowestFree {
  readonly #limit: number;
  /** Numbers from here on were never handed out. */
  #next = 0;
  /** A binary heap of those that came back. */
  readonly #returned: number[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** The lowest free number; `undefined` if there is none. */
  take(): number | undefined {
    const heap = this.#returned;
    const lowest = heap[0];
    if (lowest === undefined) return this.#next < this.#limit ? this.#next++ : undefined;
    const last = heap.pop()!;
    if (heap.length > 0) {
      heap[0] = last;
      this.#sink();
    }
    return lowest;
  }

  /** Gives back a number that was taken. */
  give(number: number): void {
    const heap = this.#returned;
    let at = heap.push(number) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (heap[parent]! <= number) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = number;
  }

  #sink(): void {
    const heap = this.#returned;
    const number = heap[0]!;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && heap[child + 1]! < heap[child]!) child++;
      if (heap[child]! >= number) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = number;
  }
}
