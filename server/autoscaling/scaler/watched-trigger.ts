import { metricUnavailable } from "../../errors/autoscaling-errors.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { TimeWindow } from "../time-window.ts";
import type { Trigger } from "./trigger.ts";

/** What a trigger's source gave. */
export interface Reading {
  readonly value: number | undefined;
  readonly asked: number;
  readonly answered: number;
}

/** What a watched trigger acts on. */
export interface WatchOptions {
  readonly trigger: Trigger;
  /** Asks the source; `seconds` since the last time. */
  readonly ask: (seconds: number) => Promise<Reading>;
  /** Monotonic clock in ms. */
  readonly now: () => number;
  /** Told of each reading, and of why there is none. */
  readonly onReading: (reading: Reading | undefined, why: string | undefined) => void;
}

/** The state of a trigger between two looks. */
type Known =
  | { readonly kind: "nothing yet" }
  | { readonly kind: "value" }
  | { readonly kind: "failed"; readonly error: TensorwireError };

/** A trigger whose source is asked again and again while somebody wants to know. */
export class WatchedTrigger {
  readonly #options: WatchOptions;
  readonly #window: TimeWindow;
  readonly #waiting = new Set<() => void>();
  #known: Known = { kind: "nothing yet" };
  #asking: Promise<void> | undefined;
  #askedAt: number | undefined;
  /** Second of the newest value, and that value. */
  #recorded: number | undefined;
  #last = 0;
  /** Whether the last look failed. */
  #failing = false;
  /** When somebody wanted to know last, in ms. */
  wantedAt: number;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#window = new TimeWindow(options.trigger.windowMs / 1000);
    this.wantedAt = options.now();
  }

  get trigger(): Trigger {
    return this.#options.trigger;
  }

  /** Asks the source, unless it is being asked; never rejects. */
  refresh(): Promise<void> {
    this.#asking ??= this.#ask().finally(() => {
      this.#asking = undefined;
      for (const wake of this.#waiting) wake();
      this.#waiting.clear();
    });
    return this.#asking;
  }

  /**
   * The value over the window; the source is asked if it never was.
   *
   * @throws TensorwireError `METRIC_UNAVAILABLE`, `TRIGGER_INVALID`
   */
  async value(): Promise<number> {
    this.wantedAt = this.#options.now();
    if (this.#known.kind === "nothing yet") await this.refresh();
    switch (this.#known.kind) {
      case "failed":
        throw this.#known.error;
      case "nothing yet":
        return 0;
      case "value":
        // As of the last look: no value has been missed since.
        return this.#window.average(this.#recorded! * 1000);
    }
  }

  /** Resolves after the next look at the source, or when the signal aborts. */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = (): void => {
        this.#waiting.delete(wake);
        resolve();
      };
      if (signal.aborted) return resolve();
      this.#waiting.add(wake);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  async #ask(): Promise<void> {
    const { ask, now, onReading, trigger } = this.#options;
    const begun = now();
    const seconds = this.#askedAt === undefined ? 0 : (begun - this.#askedAt) / 1000;
    try {
      const reading = await ask(seconds);
      this.#askedAt = begun;
      if (reading.value !== undefined) {
        this.#record(begun, reading.value);
        this.#known = { kind: "value" };
      }
      onReading(reading, undefined);
    } catch (thrown) {
      this.#askedAt = begun;
      this.#failing = true;
      const why = messageOf(thrown);
      const error =
        thrown instanceof TensorwireError
          ? thrown
          : metricUnavailable(trigger.metricName, why, thrown);
      // What the window still has is better than nothing.
      if (this.#window.isEmpty(begun)) this.#known = { kind: "failed", error };
      onReading(undefined, why);
    }
  }

  /**
   * Looks are further apart than a second, and the window has a bucket for each: a value holds until the next
   * one. Over a time in which the source failed nothing is known but what comes after it.
   */
  #record(nowMs: number, value: number): void {
    const second = Math.floor(nowMs / 1000);
    if (this.#recorded !== undefined) {
      const from = Math.max(this.#recorded + 1, second - this.trigger.windowMs / 1000 + 1);
      const held = this.#failing ? value : this.#last;
      for (let at = from; at < second; at++) this.#window.record(at * 1000, held);
    }
    // A second that was looked at twice counts once.
    if (second !== this.#recorded) this.#window.record(nowMs, value);
    this.#recorded = second;
    this.#last = value;
    this.#failing = false;
  }
}
