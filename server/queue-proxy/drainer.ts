import type { WheelClock } from "../wire/timer-wheel.ts";

/**
 * Knows when nobody sends calls any more. Knative takes a pod out of its routes a while after it was told
 * to end, so traffic is served until there was none for a quiet period.
 */
export class Drainer {
  readonly #quietMs: number;
  readonly #clock: WheelClock;
  #drained: PromiseWithResolvers<void> | undefined;
  #lastCall = 0;
  #cancel: () => void = () => {};

  /** @param quietMs - time without a call after which draining is over */
  constructor(quietMs: number, clock: WheelClock) {
    this.#quietMs = quietMs;
    this.#clock = clock;
  }

  /** Probes are told that the pod goes away. */
  get draining(): boolean {
    return this.#drained !== undefined;
  }

  /** A call has come. */
  onCall(): void {
    if (this.#drained !== undefined) this.#lastCall = this.#clock.now();
  }

  /** Begins to drain, or joins in; resolves when draining is over, or was broken off. */
  drain(): Promise<void> {
    if (this.#drained === undefined) {
      this.#drained = Promise.withResolvers();
      this.#lastCall = this.#clock.now();
      this.#wait(this.#quietMs);
    }
    return this.#drained.promise;
  }

  /** Breaks off: the pod gets calls again. */
  reset(): void {
    this.#cancel();
    this.#drained?.resolve();
    this.#drained = undefined;
  }

  #wait(ms: number): void {
    this.#cancel = this.#clock.after(ms, () => {
      const left = this.#lastCall + this.#quietMs - this.#clock.now();
      if (left > 0) this.#wait(left);
      else this.#drained?.resolve();
    });
  }
}
