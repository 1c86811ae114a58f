import { HpaDecider } from "../hpa/hpa-decider.ts";
import { type HpaSettings, hpaDefaults, hpaSyncMs } from "../hpa/hpa-settings.ts";

/** Settings of a ScaledObject with one external trigger. Times in ms. */
export interface KedaSettings {
  /** Value that each pod should have (`targetSize` of the scaler's metric). */
  readonly target: number;
  /** Above it the workload is active. */
  readonly activationThreshold: number;
  readonly pollingIntervalMs: number;
  /** Time without activity after which the last pod goes. */
  readonly cooldownMs: number;
  readonly minReplicas: number;
  readonly maxReplicas: number;
}

/** Defaults of KEDA, but for the target. */
export const kedaDefaults = {
  activationThreshold: 0,
  pollingIntervalMs: 30_000,
  cooldownMs: 300_000,
  minReplicas: 0,
  maxReplicas: 100,
} as const satisfies Omit<KedaSettings, "target">;

/** What is decided, and why. */
export interface KedaDecision {
  readonly replicas: number;
  readonly why: string;
}

/**
 * Decides as KEDA does: between none and one by itself at each poll, and above by the Horizontal Pod
 * Autoscaler that it makes. KEDA, pkg/scaling/executor/scale_scaledobjects.go.
 */
export class KedaDecider {
  readonly #settings: KedaSettings;
  readonly #hpa: HpaDecider;
  #lastActive: number;
  #polledAt = Number.NEGATIVE_INFINITY;
  #syncedAt = Number.NEGATIVE_INFINITY;

  constructor(settings: KedaSettings, nowMs: number) {
    this.#settings = settings;
    this.#lastActive = nowMs;
    const hpa: HpaSettings = {
      ...hpaDefaults,
      metric: { kind: "average-value", target: settings.target },
      minReplicas: Math.max(1, settings.minReplicas),
      maxReplicas: settings.maxReplicas,
    };
    this.#hpa = new HpaDecider(hpa);
  }

  /** Decides what is due at a time in ms; called each second or so. */
  decide(nowMs: number, value: number, readyPods: number, replicas: number): KedaDecision {
    const { activationThreshold, pollingIntervalMs, cooldownMs, minReplicas } = this.#settings;
    if (nowMs - this.#polledAt >= pollingIntervalMs) {
      this.#polledAt = nowMs;
      if (value > activationThreshold) {
        this.#lastActive = nowMs;
        if (replicas === 0) {
          const first = Math.max(1, minReplicas);
          return {
            replicas: first,
            why: `active: ${value.toFixed(2)} above ${activationThreshold}`,
          };
        }
      } else if (minReplicas === 0 && replicas > 0 && nowMs - this.#lastActive > cooldownMs) {
        return { replicas: 0, why: `not active for ${(nowMs - this.#lastActive) / 1000} s` };
      }
    }
    if (replicas > 0 && nowMs - this.#syncedAt >= hpaSyncMs) {
      this.#syncedAt = nowMs;
      return this.#hpa.decide(nowMs, { value, readyPods, replicas });
    }
    return { replicas, why: "nothing is due" };
  }
}
