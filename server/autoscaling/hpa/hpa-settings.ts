/** What the Horizontal Pod Autoscaler scales on. */
export type HpaMetric =
  /** Average use of the pods against what they ask for, in percent (Resource, Utilization). */
  | { readonly kind: "utilization"; readonly target: number }
  /** A number for all pods together, of which each should have so much (External, AverageValue). */
  | { readonly kind: "average-value"; readonly target: number };

/** Bound on the speed of scaling: pods or percent within a time. */
export interface HpaPolicy {
  readonly kind: "pods" | "percent";
  readonly value: number;
  readonly periodMs: number;
}

/** How fast it scales in one direction; of several policies the one that allows most counts. */
export interface HpaBehavior {
  readonly stabilizationMs: number;
  readonly policies: readonly HpaPolicy[];
}

/** Settings of the Horizontal Pod Autoscaler (autoscaling/v2). */
export interface HpaSettings {
  readonly metric: HpaMetric;
  readonly minReplicas: number;
  readonly maxReplicas: number;
  /** Share by which the ratio may be off before anything is done. */
  readonly tolerance: number;
  readonly scaleUp: HpaBehavior;
  readonly scaleDown: HpaBehavior;
}

/** Time between two decisions, in ms. */
export const hpaSyncMs = 15_000;

/** Defaults of Kubernetes, but for the metric and the bounds. */
export const hpaDefaults = {
  minReplicas: 1,
  tolerance: 0.1,
  scaleUp: {
    stabilizationMs: 0,
    policies: [
      { kind: "pods", value: 4, periodMs: 15_000 },
      { kind: "percent", value: 100, periodMs: 15_000 },
    ],
  },
  scaleDown: {
    stabilizationMs: 300_000,
    policies: [{ kind: "percent", value: 100, periodMs: 15_000 }],
  },
} as const satisfies Omit<HpaSettings, "metric" | "maxReplicas">;
