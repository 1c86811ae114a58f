import type { HpaBehavior, HpaPolicy, HpaSettings } from "./hpa-settings.ts";

/** What the autoscaler sees when it decides. */
export interface HpaObservation {
  /** By the metric: average percent, or the number of all pods; `undefined` if it cannot be had. */
  readonly value: number | undefined;
  readonly readyPods: number;
  /** Replicas that are asked for at the moment. */
  readonly replicas: number;
}

/** What the autoscaler wants, and why. */
export interface HpaDecision {
  readonly replicas: number;
  /** What the metric asks for, before stabilization, policies and bounds. */
  readonly demand: number;
  readonly why: string;
}

interface Timed {
  readonly at: number;
  readonly replicas: number;
}

/**
 * Decides how many replicas a workload has, as the Horizontal Pod Autoscaler does.
 * Kubernetes, pkg/controller/podautoscaler/horizontal.go and replica_calculator.go.
 */
export class HpaDecider {
  readonly #settings: HpaSettings;
  #recommendations: Timed[] = [];
  /** Replicas that were added and taken away, as positive numbers. */
  #added: Timed[] = [];
  #removed: Timed[] = [];

  constructor(settings: HpaSettings) {
    this.#settings = settings;
  }

  /** Decides anew; called each fifteen seconds. */
  decide(nowMs: number, observation: HpaObservation): HpaDecision {
    const { replicas, value } = observation;
    if (value === undefined) {
      return { replicas, demand: replicas, why: `${replicas} replicas kept: there is no metric` };
    }
    const { minReplicas, maxReplicas, scaleUp, scaleDown } = this.#settings;
    const demand = this.#demand(value, observation);
    this.#recommendations.push({ at: nowMs, replicas: demand });
    const stable = this.#stabilized(nowMs, replicas, demand);
    let wanted = stable;
    if (wanted > replicas) {
      const most = this.#mostAfter(nowMs, scaleUp, replicas);
      wanted = Math.min(wanted, most, maxReplicas);
    } else if (wanted < replicas) {
      const least = this.#leastAfter(nowMs, scaleDown, replicas);
      wanted = Math.max(wanted, least, minReplicas);
    }
    wanted = Math.min(Math.max(wanted, minReplicas), maxReplicas);
    if (wanted > replicas) this.#added.push({ at: nowMs, replicas: wanted - replicas });
    if (wanted < replicas) this.#removed.push({ at: nowMs, replicas: replicas - wanted });
    this.#forget(nowMs);
    return { replicas: wanted, demand, why: this.#reason(value, demand, stable, wanted) };
  }

  #demand(value: number, { readyPods, replicas }: HpaObservation): number {
    const { metric, tolerance } = this.#settings;
    switch (metric.kind) {
      case "utilization": {
        const ratio = value / metric.target;
        if (Math.abs(1 - ratio) <= tolerance) return replicas;
        return Math.ceil(readyPods * ratio);
      }
      case "average-value": {
        const ratio =
          replicas === 0 ? Number.POSITIVE_INFINITY : value / (metric.target * replicas);
        if (Math.abs(1 - ratio) <= tolerance) return replicas;
        return Math.ceil(value / metric.target);
      }
    }
  }

  /** The largest recommendation of the time for going down, the smallest of that for going up. */
  #stabilized(nowMs: number, replicas: number, demand: number): number {
    const { scaleUp, scaleDown } = this.#settings;
    let up = demand;
    let down = demand;
    for (const { at, replicas: recommended } of this.#recommendations) {
      if (at > nowMs - scaleUp.stabilizationMs) up = Math.min(up, recommended);
      if (at > nowMs - scaleDown.stabilizationMs) down = Math.max(down, recommended);
    }
    return Math.min(Math.max(replicas, up), down);
  }

  #mostAfter(nowMs: number, { policies }: HpaBehavior, replicas: number): number {
    const after = policies.map((policy) => {
      const begin = replicas - sumSince(this.#added, nowMs - policy.periodMs);
      return policy.kind === "pods"
        ? begin + policy.value
        : Math.ceil(begin * (1 + policy.value / 100));
    });
    return Math.max(...after);
  }

  #leastAfter(nowMs: number, { policies }: HpaBehavior, replicas: number): number {
    const after = policies.map((policy) => {
      const begin = replicas + sumSince(this.#removed, nowMs - policy.periodMs);
      return policy.kind === "pods"
        ? begin - policy.value
        : Math.floor(begin * (1 - policy.value / 100));
    });
    return Math.min(...after);
  }

  #forget(nowMs: number): void {
    const { scaleUp, scaleDown } = this.#settings;
    const longest = Math.max(scaleUp.stabilizationMs, scaleDown.stabilizationMs);
    const period = (policies: readonly HpaPolicy[]): number =>
      Math.max(...policies.map(({ periodMs }) => periodMs));
    const since = (list: Timed[], ms: number): Timed[] => list.filter(({ at }) => at > nowMs - ms);
    this.#recommendations = since(this.#recommendations, longest);
    this.#added = since(this.#added, period(scaleUp.policies));
    this.#removed = since(this.#removed, period(scaleDown.policies));
  }

  #reason(value: number, demand: number, stable: number, wanted: number): string {
    const { metric } = this.#settings;
    const seen =
      metric.kind === "utilization"
        ? `use ${value.toFixed(1)} % of ${metric.target} %`
        : `${value.toFixed(2)} in all, ${metric.target} a pod`;
    const held =
      (stable === demand ? "" : `, ${stable} by stabilization`) +
      (wanted === stable ? "" : `, ${wanted} by policies and bounds`);
    return `${seen}: ${demand} replicas${held}`;
  }
}

function sumSince(list: readonly Timed[], since: number): number {
  return list.reduce((sum, { at, replicas }) => (at > since ? sum + replicas : sum), 0);
}
