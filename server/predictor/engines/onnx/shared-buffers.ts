/** Smallest buffer; contents below it cross between threads as fast by other ways. */
export const leastSharedBytes = 64 * 1024;

/**
 * Shared memory in which large inputs cross to a worker: buffers of a power of two bytes that are used
 * again and again, so that no call allocates, clears or collects its megabytes
 * (bench/micro/tensor/thread-hand-over.ts measures what that saves).
 */
export class SharedBuffers {
  readonly #limit: number;
  #bytes = 0;
  readonly #free = new Map<number, SharedArrayBuffer[]>();

  /** @param limit - bytes of all buffers together, used and free */
  constructor(limit: number) {
    this.#limit = limit;
  }

  /** Bytes of all buffers, used and free. */
  get bytes(): number {
    return this.#bytes;
  }

  /**
   * A buffer of at least `size` bytes with any contents; `undefined` if the limit leaves no room, and
   * then another way has to do.
   */
  take(size: number): SharedArrayBuffer | undefined {
    const capacity = 2 ** Math.ceil(Math.log2(Math.max(size, leastSharedBytes)));
    const free = this.#free.get(capacity)?.pop();
    if (free) return free;
    if (this.#bytes + capacity > this.#limit) this.#dropFree();
    if (this.#bytes + capacity > this.#limit) return undefined;
    this.#bytes += capacity;
    return new SharedArrayBuffer(capacity);
  }

  /** Gives a buffer back that nobody reads any more. */
  give(buffer: SharedArrayBuffer): void {
    const free = this.#free.get(buffer.byteLength);
    if (free) free.push(buffer);
    else this.#free.set(buffer.byteLength, [buffer]);
  }

  /** Lets go of buffers of sizes that are not asked for now. */
  #dropFree(): void {
    for (const [capacity, buffers] of this.#free) this.#bytes -= capacity * buffers.length;
    this.#free.clear();
  }
}
