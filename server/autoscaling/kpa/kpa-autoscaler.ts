import { TimeWindow } from "../time-window.ts";
import { KpaDecider } from "./kpa-decider.ts";
import { type KpaSettings, kpaTickMs, panicWindowSeconds } from "./kpa-settings.ts";
import { boundedScale, ZeroScale } from "./zero-scale.ts";

/** What was measured in the second that has just ended. */
export interface KpaSecond {
  /** Its end, in ms; a multiple of 1000. */
  readonly nowMs: number;
  /** Requests at once on average, those that wait for a pod included. */
  readonly concurrency: number;
  /** Requests that came. */
  readonly requests: number;
  readonly readyPods: number;
  /** Pods that are to be there. */
  readonly replicas: number;
}

/** A number of pods, and why. */
export interface KpaScale {
  readonly replicas: number;
  readonly why: string;
}

/** The Knative Pod Autoscaler as a whole: its windows, its decisions, and scaling to zero and back. */
export class KpaAutoscaler {
  readonly #settings: KpaSettings;
  readonly #stable: TimeWindow;
  readonly #panic: TimeWindow;
  readonly #decider: KpaDecider;
  readonly #zero: ZeroScale;

  /** @param nowMs - time that its seconds are counted on from */
  constructor(settings: KpaSettings, nowMs: number) {
    const { stableWindowMs, windowAverage } = settings;
    this.#settings = settings;
    this.#stable = new TimeWindow(stableWindowMs / 1000, windowAverage);
    this.#panic = new TimeWindow(panicWindowSeconds(settings), windowAverage);
    this.#decider = new KpaDecider(settings, nowMs, 0);
    this.#zero = new ZeroScale(settings, nowMs);
  }

  /** Pods at the start. */
  get initial(): number {
    return boundedScale(this.#settings, this.#settings.initialScale);
  }

  /** Takes what a second brought; decides each two seconds. */
  see({ nowMs, concurrency, requests, readyPods, replicas }: KpaSecond): KpaScale | undefined {
    const value = this.#settings.metric === "rps" ? requests : concurrency;
    this.#stable.record(nowMs - 1, value);
    this.#panic.record(nowMs - 1, value);
    if (nowMs % kpaTickMs !== 0) return undefined;
    const found = this.#decider.decide(nowMs, {
      stableValue: this.#stable.average(nowMs - 1),
      panicValue: this.#panic.average(nowMs - 1),
      readyPods,
      reachable: true,
    });
    return { replicas: this.#zero.apply(nowMs, found.pods, replicas), why: found.why };
  }

  /**
   * Something is asked for and there is no pod: it is not waited for the next second, as the activator does
   * not.
   */
  activate(nowMs: number): KpaScale {
    const { activationScale } = this.#settings;
    const replicas = this.#zero.apply(nowMs, Math.max(1, activationScale), 0);
    return { replicas, why: "something is asked for and there is no pod" };
  }
}
