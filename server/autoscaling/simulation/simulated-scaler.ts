import { HpaDecider } from "../hpa/hpa-decider.ts";
import { type HpaSettings, hpaSyncMs } from "../hpa/hpa-settings.ts";
import { KedaDecider, type KedaSettings } from "../keda/keda-decider.ts";
import { KpaDecider } from "../kpa/kpa-decider.ts";
import { type KpaSettings, kpaTickMs, panicWindowSeconds } from "../kpa/kpa-settings.ts";
import { boundedScale, ZeroScale } from "../kpa/zero-scale.ts";
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

/** The Knative Pod Autoscaler, with its windows and scaling to zero. */
export function kpaScaler(settings: KpaSettings): SimulatedScaler {
  const { metric, stableWindowMs, windowAverage } = settings;
  const stable = new TimeWindow(stableWindowMs / 1000, windowAverage);
  const panic = new TimeWindow(panicWindowSeconds(settings), windowAverage);
  const initial = boundedScale(settings, settings.initialScale);
  const decider = new KpaDecider(settings, 0, 0);
  const zero = new ZeroScale(settings, 0);
  return {
    name: "kpa",
    initial,
    see({ nowMs, concurrency, requests, readyPods, replicas }) {
      const value = metric === "rps" ? requests : concurrency;
      // The second that has just ended.
      stable.record(nowMs - 1, value);
      panic.record(nowMs - 1, value);
      if (nowMs % kpaTickMs !== 0) return undefined;
      const found = decider.decide(nowMs, {
        stableValue: stable.average(nowMs - 1),
        panicValue: panic.average(nowMs - 1),
        readyPods,
        reachable: true,
      });
      return { replicas: zero.apply(nowMs, found.pods, replicas), why: found.why };
    },
  };
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
