/** Items that go from several givers to one taker, who holds them up: each waits until its own is taken. */
export class Handover<T> {
  readonly #items: { readonly item: T; readonly taken: () => void }[] = [];
  #wake: (() => void) | undefined;
  #ended = false;
  #error: unknown;
  #failed = false;
  #stopped = false;

  /** True once nobody takes any more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /** Resolves when the item was taken, or nobody takes any more. */
  give(item: T): Promise<void> {
    if (this.#stopped) return Promise.resolve();
    return new Promise((taken) => {
      this.#items.push({ item, taken });
      this.#wake?.();
    });
  }

  /** No item comes any more. */
  end(): void {
    this.#ended = true;
    this.#wake?.();
  }

  /** What was given is dropped, and the taker hears of the error. */
  fail(error: unknown): void {
    if (!this.#failed) this.#error = error;
    this.#failed = true;
    this.#wake?.();
  }

  /** Ends the taking: givers that wait go on. */
  stop(): void {
    this.#stopped = true;
    for (const { taken } of this.#items.splice(0)) taken();
  }

  async *taken(): AsyncGenerator<T> {
    for (;;) {
      if (this.#failed) throw this.#error;
      const next = this.#items.shift();
      if (next) {
        next.taken();
        yield next.item;
      } else if (this.#ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
        this.#wake = undefined;
      }
    }
  }
}
