import type { WindowAverage } from "../time-window.ts";

/** What the Knative Pod Autoscaler scales on. */
export type KpaMetric = "concurrency" | "rps";

/**
 * Settings of the Knative Pod Autoscaler, by the names of its ConfigMap `config-autoscaler` and of the
 * annotations `autoscaling.knative.dev/*`, with the same defaults. Times in ms.
 */
export interface KpaSettings {
  readonly metric: KpaMetric;
  /** Requests that a pod takes at once; 0 for any number. */
  readonly containerConcurrency: number;
  /** Annotation `target`; `undefined` for the container concurrency or the default of the metric. */
  readonly target: number | undefined;
  /** Share of the target that is aimed at, in percent. */
  readonly targetUtilizationPercentage: number;
  readonly stableWindowMs: number;
  /** Length of the panic window in percent of the stable one. */
  readonly panicWindowPercentage: number;
  /** Wanted pods in percent of the ready ones from which it panics. */
  readonly panicThresholdPercentage: number;
  readonly maxScaleUpRate: number;
  readonly maxScaleDownRate: number;
  /** Requests at once that must always find room without the activator; -1 keeps it in the path. */
  readonly targetBurstCapacity: number;
  readonly scaleDownDelayMs: number;
  readonly windowAverage: WindowAverage;
  /** Bounds on pods; a maximum of 0 is none. */
  readonly minScale: number;
  readonly maxScale: number;
  readonly initialScale: number;
  /** Pods at least when there is demand. */
  readonly activationScale: number;
  readonly scaleToZero: boolean;
  readonly scaleToZeroGraceMs: number;
  /** Time for which the last pod stays after the decision to end it. */
  readonly scaleToZeroRetentionMs: number;
}

/** Defaults of Knative Serving. */
export const kpaDefaults: KpaSettings = {
  metric: "concurrency",
  containerConcurrency: 0,
  target: undefined,
  targetUtilizationPercentage: 70,
  stableWindowMs: 60_000,
  panicWindowPercentage: 10,
  panicThresholdPercentage: 200,
  maxScaleUpRate: 1000,
  maxScaleDownRate: 2,
  targetBurstCapacity: 211,
  scaleDownDelayMs: 0,
  windowAverage: "linear",
  minScale: 0,
  maxScale: 0,
  initialScale: 1,
  activationScale: 1,
  scaleToZero: true,
  scaleToZeroGraceMs: 30_000,
  scaleToZeroRetentionMs: 0,
};

/** Time between two decisions, in ms. */
export const kpaTickMs = 2_000;

/** Targets where neither annotation nor container concurrency says one. */
const defaultTargets = { concurrency: 100, rps: 200 } as const;
const leastTarget = 0.01;

/** What a pod should take, and what it can take at most. */
export interface KpaTarget {
  readonly total: number;
  /** What is aimed at: a share of the total. */
  readonly target: number;
}

/** The target of a pod. Knative Serving, pkg/reconciler/autoscaling/resources/target.go. */
export function kpaTarget(settings: KpaSettings): KpaTarget {
  const { metric, containerConcurrency, target, targetUtilizationPercentage } = settings;
  const byConcurrency = metric === "concurrency" && containerConcurrency > 0;
  let total = byConcurrency ? containerConcurrency : defaultTargets[metric];
  // A pod takes no more than its container concurrency, whatever the annotation asks for.
  if (target !== undefined) total = byConcurrency ? Math.min(target, total) : target;
  return { total, target: Math.max(leastTarget, (total * targetUtilizationPercentage) / 100) };
}

/** Length of the panic window in whole seconds, at least one. */
export function panicWindowSeconds(settings: KpaSettings): number {
  const { stableWindowMs, panicWindowPercentage } = settings;
  return Math.max(1, Math.round(((stableWindowMs / 1000) * panicWindowPercentage) / 100));
}
