import { Counter, Gauge, type Registry } from "prom-client";
import { KpaAutoscaler } from "../autoscaling/kpa/kpa-autoscaler.ts";
import { kpaDefaults } from "../autoscaling/kpa/kpa-settings.ts";
import type { Gathered, Question } from "../cluster/messages.ts";
import type { SupervisorStats } from "../cluster/supervisor.ts";
import type { Log } from "../observability/log.ts";
import type { ReplicaBounds } from "./replica-bounds.ts";
import type { ServeValues } from "./serve-values.ts";
import { type WorkerLoad, workerQuestions } from "./worker-questions.ts";

/** What is scaled. */
export interface Replicas {
  readonly stats: Pick<SupervisorStats, "wanted" | "serving" | "waitingConnections">;
  gather(question: Question): Promise<Gathered>;
  resize(count: number): void;
}

/** Time as the scaler sees it. */
export interface ScalerClock {
  /** Monotonic, in ms. */
  now(): number;
  /** Does something again and again; the answer calls it off. */
  every(ms: number, action: () => void): () => void;
}

/** Has as many replicas run as calls ask for. */
export interface ReplicaScaler {
  /** Replicas at the start: one at least, so that models are seen to load. */
  readonly initial: number;
  /** Begins to look at the calls, each second. */
  follow(replicas: Replicas): void;
  /** A connection waits as there is no replica. */
  onWaiting(replicas: Replicas): void;
  /** The process of a replica has ended. */
  forget(number: number): void;
  close(): void;
}

const question: Question = { name: workerQuestions.load, payload: new Uint8Array(0) };

/** Makes one that decides as the Knative Pod Autoscaler does. */
export function createReplicaScaler(
  values: Pick<ServeValues, "replica-target" | "replica-window" | "replica-idle-time">,
  { least, most }: ReplicaBounds,
  registry: Registry,
  log: Log,
  clock: ScalerClock,
): ReplicaScaler {
  const autoscaler = new KpaAutoscaler(
    {
      ...kpaDefaults,
      target: values["replica-target"],
      stableWindowMs: values["replica-window"],
      scaleToZeroGraceMs: 0,
      scaleToZeroRetentionMs: values["replica-idle-time"],
      minScale: least,
      maxScale: most,
      initialScale: Math.max(1, least),
    },
    0,
  );
  const before = new Map<number, WorkerLoad>();
  const concurrencyGauge = new Gauge({
    name: "tensorwire_replica_concurrency",
    help: "Calls at once over the last second, with connections that wait for a replica",
    registers: [registry],
  });
  const decisions = new Counter({
    name: "tensorwire_replica_decisions_total",
    help: "Changes of the number of replicas, by direction",
    labelNames: ["direction"],
    registers: [registry],
  });
  let seconds = 0;
  let callOff = (): void => {};
  let looking = false;

  const scale = (replicas: Replicas, wanted: number, why: string): void => {
    const { wanted: current, serving } = replicas.stats;
    if (wanted === current) return;
    decisions.inc({ direction: wanted > current ? "up" : "down" });
    log.info({ replicas: wanted, before: current, serving, why }, "the number of replicas changes");
    replicas.resize(wanted);
  };

  /** What came since the last look, over the time since: by Little's law, the calls at once on average. */
  const look = async (replicas: Replicas, sinceMs: number): Promise<void> => {
    const { answers } = await replicas.gather(question);
    let inFlight = 0;
    let callMs = 0;
    let requests = 0;
    for (const { worker, answer } of answers) {
      const load = answer as WorkerLoad;
      const was = before.get(worker) ?? { inFlight: 0, calls: 0, callMs: 0 };
      before.set(worker, load);
      inFlight += load.inFlight;
      callMs += Math.max(0, load.callMs - was.callMs);
      requests += Math.max(0, load.calls - was.calls);
    }
    const { serving, wanted, waitingConnections } = replicas.stats;
    // Calls that are not answered yet show only in those that are in flight.
    const concurrency = Math.max(callMs / sinceMs, inFlight) + waitingConnections;
    concurrencyGauge.set(concurrency);
    seconds++;
    const nowMs = seconds * 1000;
    const sight = { nowMs, concurrency, requests, readyPods: serving, replicas: wanted };
    const decision = autoscaler.see(sight);
    if (decision) scale(replicas, decision.replicas, decision.why);
  };

  return {
    initial: autoscaler.initial,
    follow(replicas) {
      let last = clock.now();
      callOff = clock.every(1000, () => {
        // A worker that is slow to answer makes one second longer, not many.
        if (looking) return;
        looking = true;
        const now = clock.now();
        const sinceMs = now - last;
        last = now;
        look(replicas, sinceMs)
          .catch((error: unknown) => log.error({ err: error }, "the calls could not be counted"))
          .finally(() => {
            looking = false;
          });
      });
    },
    onWaiting(replicas) {
      if (replicas.stats.wanted > 0) return;
      const { replicas: wanted, why } = autoscaler.activate(seconds * 1000);
      scale(replicas, wanted, why);
    },
    forget: (number) => void before.delete(number),
    close: () => callOff(),
  };
}
