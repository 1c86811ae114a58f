import { HpaDecider } from "../hpa/hpa-decider.ts";
import { type HpaSettings, hpaSyncMs } from "../hpa/hpa-settings.ts";
import { KedaDecider, type KedaSettings } from "../keda/keda-decider.ts";
import { KpaAutoscaler } from "../kpa/kpa-autoscaler.ts";
import type { KpaSettings } from "../kpa/kpa-settings.ts";
import { TimeWindow } from "../time-window.ts";

/** What an autoscaler sees at the end of a second. */
export interface Sight {
  readonly nowMs: number;
  /** Requests in pods and waiting for one, on average over the second. */
  readonly concurrency: number;
  /** Requests that came in the second. */
  readonly requests: number;
  /** Share of what pods can compute at once that was in use, in percent. */
  readonly utilization: number;
  readonly readyPods: number;
  /** Pods that are to be there. */
  readonly replicas: number;
}

/** A decision, if one was due. */
export interface ScaleDecision {
  readonly replicas: number;
  readonly why: string;
}

/** An autoscaler in a simulation. */
export interface SimulatedScaler {
  readonly name: string;
  /** Replicas at the start. */
  readonly initial: number;
  /** Called at the end of each second. */
  see(sight: Sight): ScaleDecision | undefined;
}

/** The Knative Pod Autoscaler. */
export function kpaScaler(settings: KpaSettings): SimulatedScaler {
  const autoscaler = new KpaAutoscaler(settings, 0);
  return { name: "kpa", initial: autoscaler.initial, see: (sight) => autoscaler.see(sight) };
}

/** The Horizontal Pod Autoscaler on the use of the pods, or on requests at once. */
export function hpaScaler(settings: HpaSettings): SimulatedScaler {
  const decider = new HpaDecider(settings);
  // metrics-server scrapes about as often as the autoscaler looks.
  const window = new TimeWindow(hpaSyncMs / 1000);
  return {
    name: "hpa",
    initial: settings.minReplicas,
    see({ nowMs, concurrency, utilization, readyPods, replicas }) {
      window.record(nowMs - 1, settings.metric.kind === "utilization" ? utilization : concurrency);
      if (nowMs % hpaSyncMs !== 0) return undefined;
      return decider.decide(nowMs, { value: window.average(nowMs - 1), readyPods, replicas });
    },
  };
}

/** KEDA with an external scaler that gives requests at once. */
export function kedaScaler(settings: KedaSettings): SimulatedScaler {
  const decider = new KedaDecider(settings, 0);
  return {
    name: "keda",
    initial: settings.minReplicas,
    see({ nowMs, concurrency, readyPods, replicas }) {
      const found = decider.decide(nowMs, concurrency, readyPods, replicas);
      return found.replicas === replicas ? undefined : found;
    },
  };
}

/** No autoscaler. */
export function fixedScaler(replicas: number): SimulatedScaler {
  return { name: "fixed", initial: replicas, see: () => undefined };
}
