import type { KpaSettings } from "./kpa-settings.ts";

/** Whether a revision is in use; `since` in ms. */
export type Activity =
  | { readonly kind: "active"; readonly since: number }
  /** Nothing is asked of it; requests that come go through the activator. */
  | { readonly kind: "inactive"; readonly since: number };

/** Bounds on pods. A maximum of 0 is none. */
export function boundedScale({ minScale, maxScale }: KpaSettings, pods: number): number {
  const atLeast = Math.max(pods, minScale);
  return maxScale > 0 ? Math.min(atLeast, maxScale) : atLeast;
}

/**
 * When the last pod goes: a revision that is wanted by nobody has been active for the stable window, is then
 * inactive for the grace time, in which the activator comes into the path, or for as long as the last pod is
 * to stay. Knative Serving, pkg/reconciler/autoscaling/kpa/scaler.go.
 */
export class ZeroScale {
  readonly #settings: KpaSettings;
  #activity: Activity;

  constructor(settings: KpaSettings, nowMs: number) {
    this.#settings = settings;
    this.#activity = { kind: "active", since: nowMs };
  }

  get activity(): Activity {
    return this.#activity;
  }

  /**
   * What a wanted number of pods comes to.
   *
   * @param wanted - pods that the decider wants
   * @param current - pods that the revision is to have now
   */
  apply(nowMs: number, wanted: number, current: number): number {
    const { scaleToZero, stableWindowMs, scaleToZeroGraceMs, scaleToZeroRetentionMs } =
      this.#settings;
    const pods = boundedScale(this.#settings, wanted);
    if (pods > 0) {
      if (this.#activity.kind === "inactive") this.#activity = { kind: "active", since: nowMs };
      return pods;
    }
    if (current === 0) return 0;
    if (!scaleToZero) return 1;
    const { kind, since } = this.#activity;
    switch (kind) {
      case "active":
        // It is looked at again when the window is over.
        if (nowMs - since < stableWindowMs) return 1;
        this.#activity = { kind: "inactive", since: nowMs };
        return current;
      case "inactive":
        return nowMs - since >= Math.max(scaleToZeroGraceMs, scaleToZeroRetentionMs) ? 0 : current;
    }
  }
}
