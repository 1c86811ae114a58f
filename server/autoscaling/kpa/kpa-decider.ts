import { type KpaSettings, type KpaTarget, kpaTarget, kpaTickMs } from "./kpa-settings.ts";
import { PeakWindow } from "./peak-window.ts";

/** What the autoscaler sees when it decides. */
export interface KpaObservation {
  /** Average of the metric over all pods, over the stable window and over the panic window. */
  readonly stableValue: number;
  readonly panicValue: number;
  readonly readyPods: number;
  /** Whether a route leads to the revision; one that nobody can reach may go at once. */
  readonly reachable: boolean;
}

/** What the autoscaler wants, and why. */
export interface KpaDecision {
  /** Pods wanted, before bounds and the rules of scaling to zero. */
  readonly pods: number;
  /** What the stable and the panic window ask for, before rates hold them back. */
  readonly stableDemand: number;
  readonly panicDemand: number;
  readonly panicking: boolean;
  /** Requests that would find room beyond what is asked to be kept free; below 0 the activator stays. */
  readonly excessBurstCapacity: number;
  /** A sentence for logs and people. */
  readonly why: string;
}

/**
 * Decides how many pods a revision has, as the Knative Pod Autoscaler does.
 * Knative Serving, pkg/autoscaler/scaling/autoscaler.go.
 */
export class KpaDecider {
  readonly #settings: KpaSettings;
  readonly #target: KpaTarget;
  readonly #delayed: PeakWindow | undefined;
  /** When the panic threshold was last reached, in ms; `undefined` while it does not panic. */
  #panicSince: number | undefined;
  #mostPanicPods: number;

  /**
   * @param nowMs - monotonic
   * @param readyPods - pods there are already: with more than one it begins in panic, so that it does not
   * take pods away before it has seen enough
   */
  constructor(settings: KpaSettings, nowMs: number, readyPods: number) {
    this.#settings = settings;
    this.#target = kpaTarget(settings);
    const { scaleDownDelayMs } = settings;
    this.#delayed = scaleDownDelayMs > 0 ? new PeakWindow(scaleDownDelayMs, kpaTickMs) : undefined;
    this.#panicSince = readyPods > 1 ? nowMs : undefined;
    this.#mostPanicPods = readyPods;
  }

  /** Decides anew; called each two seconds. */
  decide(nowMs: number, observation: KpaObservation): KpaDecision {
    const { maxScaleUpRate, maxScaleDownRate, activationScale } = this.#settings;
    const { stableValue, panicValue, readyPods, reachable } = observation;
    const { target } = this.#target;
    const ready = Math.max(1, readyPods);
    const most = Math.ceil(maxScaleUpRate * ready);
    const least = reachable ? Math.floor(ready / maxScaleDownRate) : 0;
    const stableDemand = Math.ceil(stableValue / target);
    const panicDemand = Math.ceil(panicValue / target);
    const bounded = (demand: number): number => {
      const pods = Math.min(Math.max(demand, least), most);
      return demand > 0 && activationScale > 1 ? Math.max(pods, activationScale) : pods;
    };
    this.#updatePanic(nowMs, panicDemand / ready);
    let pods = bounded(stableDemand);
    const panicking = this.#panicSince !== undefined;
    if (panicking) {
      this.#mostPanicPods = Math.max(this.#mostPanicPods, pods, bounded(panicDemand));
      pods = this.#mostPanicPods;
    }
    const undelayed = pods;
    if (this.#delayed) pods = this.#delayed.record(nowMs, pods);
    return {
      pods,
      stableDemand,
      panicDemand,
      panicking,
      excessBurstCapacity: this.#excessBurstCapacity(readyPods, panicValue),
      why: this.#reason(observation, pods, { panicking, held: pods > undelayed }),
    };
  }

  #updatePanic(nowMs: number, panicShare: number): void {
    const { panicThresholdPercentage, stableWindowMs } = this.#settings;
    if (panicShare >= panicThresholdPercentage / 100) this.#panicSince = nowMs;
    else if (this.#panicSince !== undefined && this.#panicSince + stableWindowMs < nowMs) {
      this.#panicSince = undefined;
      this.#mostPanicPods = 0;
    }
  }

  #excessBurstCapacity(readyPods: number, panicValue: number): number {
    const { targetBurstCapacity } = this.#settings;
    if (targetBurstCapacity <= 0) return targetBurstCapacity === 0 ? 0 : -1;
    return Math.floor(readyPods * this.#target.total - targetBurstCapacity - panicValue);
  }

  #reason(
    { stableValue, panicValue, readyPods }: KpaObservation,
    pods: number,
    { panicking, held }: { readonly panicking: boolean; readonly held: boolean },
  ): string {
    const { metric } = this.#settings;
    const seen = `${metric} ${stableValue.toFixed(2)} stable, ${panicValue.toFixed(2)} panic, target ${this.#target.target.toFixed(2)} a pod`;
    const how = `${panicking ? "; in panic, which takes no pod away" : ""}${held ? "; held by the scale-down delay" : ""}`;
    return `${pods} wanted, ${readyPods} ready: ${seen}${how}`;
  }
}
