import type { Random } from "../../random/random.ts";
import { EventHeap } from "./event-heap.ts";
import type { LoadCurve } from "./load-curve.ts";
import { type PodModel, SimulatedPod } from "./simulated-pod.ts";
import type { SimulatedScaler } from "./simulated-scaler.ts";
import { WaitingRequests } from "./waiting-requests.ts";

/** What is simulated. */
export interface SimulationOptions {
  readonly load: LoadCurve;
  readonly pods: PodModel;
  readonly scaler: SimulatedScaler;
  /** Requests that may wait for a pod; more are refused. */
  readonly maxWaiting: number;
  /** Time after which a request that still waits has failed, in ms. */
  readonly timeoutMs: number;
  /** When requests come, and how long they take. */
  readonly arrivals: Random;
  readonly services: Random;
}

/** One second of a simulation. */
export interface SimulatedSecond {
  /** Requests that came, were answered, were refused, and ran out of time. */
  readonly came: number;
  readonly answered: number;
  readonly refused: number;
  readonly timedOut: number;
  /** Pods that are to be there, and those that are ready. */
  readonly wanted: number;
  readonly ready: number;
  /** Requests in pods and waiting for one, on average. */
  readonly concurrency: number;
  /** Requests that wait for a pod, at the end. */
  readonly waiting: number;
  /** Times in ms of the requests that were answered. */
  readonly latencies: readonly number[];
  /** Why the number of pods changed; `undefined` if it did not. */
  readonly why: string | undefined;
}

/** A simulation that was run. */
export interface SimulationResult {
  readonly scaler: string;
  readonly seconds: readonly SimulatedSecond[];
  /** Seconds of pods, from the decision to have one until its end. */
  readonly podSeconds: number;
  /** Requests that came while no pod was ready. */
  readonly coldRequests: number;
}

type SimulationEvent =
  | { readonly at: number; readonly kind: "arrival" }
  | {
      readonly at: number;
      readonly kind: "done";
      readonly pod: SimulatedPod;
      readonly cameAt: number;
    }
  | { readonly at: number; readonly kind: "ready"; readonly pod: SimulatedPod }
  | { readonly at: number; readonly kind: "second" };

/**
 * Runs a load through pods and an autoscaler. Requests come by chance at the load's rate (a Poisson process),
 * go to the ready pod that has the fewest, and wait in one line while none has room. A pod that is to go
 * takes no more and ends with its last request; pods that are not ready yet go first.
 */
export function simulate(options: SimulationOptions): SimulationResult {
  return new Run(options).run();
}

class Run {
  readonly #options: SimulationOptions;
  readonly #events = new EventHeap<SimulationEvent>();
  readonly #line = new WaitingRequests();
  readonly #seconds: SimulatedSecond[] = [];
  #pods: SimulatedPod[] = [];
  #wanted: number;
  #now = 0;
  #podMs = 0;
  #coldRequests = 0;
  // Of the second under way.
  #came = 0;
  #refused = 0;
  #timedOut = 0;
  #latencies: number[] = [];
  #concurrencyMs = 0;
  #busyMs = 0;
  #capacityMs = 0;

  constructor(options: SimulationOptions) {
    this.#options = options;
    this.#wanted = options.scaler.initial;
    for (let count = 0; count < this.#wanted; count++) {
      const pod = new SimulatedPod(0);
      pod.state = "ready";
      this.#pods.push(pod);
    }
  }

  run(): SimulationResult {
    const { load, scaler } = this.#options;
    const endMs = Math.ceil(load.seconds) * 1000;
    this.#arrivalAfter(0);
    this.#events.push({ at: 1000, kind: "second" });
    for (let event = this.#events.pop(); event; event = this.#events.pop()) {
      if (event.at > endMs) break;
      this.#advance(event.at);
      switch (event.kind) {
        case "arrival":
          this.#arrive();
          this.#arrivalAfter(event.at);
          break;
        case "done":
          this.#done(event.pod, event.cameAt);
          break;
        case "ready":
          if (event.pod.state === "starting") event.pod.state = "ready";
          this.#serveLine();
          break;
        case "second":
          this.#second();
          this.#events.push({ at: event.at + 1000, kind: "second" });
      }
    }
    return {
      scaler: scaler.name,
      seconds: this.#seconds,
      podSeconds: this.#podMs / 1000,
      coldRequests: this.#coldRequests,
    };
  }

  /** Adds up what holds until a time. */
  #advance(at: number): void {
    const ms = at - this.#now;
    this.#now = at;
    if (ms === 0) return;
    const { parallelism } = this.#options.pods;
    let inFlight = this.#line.length;
    for (const pod of this.#pods) {
      inFlight += pod.inFlight;
      this.#busyMs += pod.running * ms;
      if (pod.state === "ready") this.#capacityMs += parallelism * ms;
    }
    this.#concurrencyMs += inFlight * ms;
    this.#podMs += this.#pods.length * ms;
  }

  /** The next arrival: within a second the rate is that of its middle. */
  #arrivalAfter(at: number): void {
    const { load, arrivals } = this.#options;
    let now = at / 1000;
    while (now < load.seconds) {
      const second = Math.floor(now);
      const rate = load.rateAt(second + 0.5);
      const gap = rate > 0 ? -Math.log(1 - arrivals.next()) / rate : Number.POSITIVE_INFINITY;
      if (now + gap < second + 1) {
        this.#events.push({ at: (now + gap) * 1000, kind: "arrival" });
        return;
      }
      // The process has no memory, so it may begin anew with the next second.
      now = second + 1;
    }
  }

  #arrive(): void {
    this.#came++;
    if (!this.#pods.some(({ state }) => state === "ready")) this.#coldRequests++;
    const pod = this.#roomiest();
    if (pod) this.#take(pod, this.#now);
    else if (this.#line.length < this.#options.maxWaiting) this.#line.push(this.#now);
    else this.#refused++;
  }

  #roomiest(): SimulatedPod | undefined {
    const limit = this.#options.pods.concurrency || Number.POSITIVE_INFINITY;
    let best: SimulatedPod | undefined;
    for (const pod of this.#pods) {
      if (pod.state !== "ready" || pod.inFlight >= limit) continue;
      if (!best || pod.inFlight < best.inFlight) best = pod;
    }
    return best;
  }

  #take(pod: SimulatedPod, cameAt: number): void {
    if (pod.running < this.#options.pods.parallelism) this.#begin(pod, cameAt);
    else pod.waiting.push(cameAt);
  }

  #begin(pod: SimulatedPod, cameAt: number): void {
    const { pods, services } = this.#options;
    const factor = pods.distribution === "fixed" ? 1 : -Math.log(1 - services.next());
    pod.running++;
    this.#events.push({ at: this.#now + pods.serviceMs * factor, kind: "done", pod, cameAt });
  }

  #done(pod: SimulatedPod, cameAt: number): void {
    pod.running--;
    this.#latencies.push(this.#now - cameAt);
    while (pod.waiting.length > 0 && pod.running < this.#options.pods.parallelism) {
      const next = pod.waiting.shift();
      if (this.#isLate(next)) this.#timedOut++;
      else this.#begin(pod, next);
    }
    if (pod.state === "draining" && pod.inFlight === 0) {
      this.#pods = this.#pods.filter((other) => other !== pod);
    }
    this.#serveLine();
  }

  #isLate(cameAt: number): boolean {
    return this.#now - cameAt > this.#options.timeoutMs;
  }

  #serveLine(): void {
    while (this.#line.length > 0) {
      const pod = this.#roomiest();
      if (!pod) return;
      const cameAt = this.#line.shift();
      if (this.#isLate(cameAt)) this.#timedOut++;
      else this.#take(pod, cameAt);
    }
  }

  #second(): void {
    const ready = this.#pods.filter(({ state }) => state === "ready").length;
    const concurrency = this.#concurrencyMs / 1000;
    const decision = this.#options.scaler.see({
      nowMs: this.#now,
      concurrency,
      requests: this.#came,
      utilization: this.#capacityMs === 0 ? 0 : (100 * this.#busyMs) / this.#capacityMs,
      readyPods: ready,
      replicas: this.#wanted,
    });
    const changes = decision !== undefined && decision.replicas !== this.#wanted;
    if (changes) this.#scaleTo(decision.replicas);
    this.#seconds.push({
      came: this.#came,
      answered: this.#latencies.length,
      refused: this.#refused,
      timedOut: this.#timedOut,
      wanted: this.#wanted,
      ready,
      concurrency,
      waiting: this.#line.length,
      latencies: this.#latencies,
      why: changes ? decision.why : undefined,
    });
    this.#came = 0;
    this.#refused = 0;
    this.#timedOut = 0;
    this.#latencies = [];
    this.#concurrencyMs = 0;
    this.#busyMs = 0;
    this.#capacityMs = 0;
  }

  #scaleTo(wanted: number): void {
    this.#wanted = wanted;
    const kept = this.#pods.filter(({ state }) => state !== "draining");
    for (let count = kept.length; count < wanted; count++) {
      const pod = new SimulatedPod(this.#now);
      this.#pods.push(pod);
      this.#events.push({ at: this.#now + this.#options.pods.startMs, kind: "ready", pod });
    }
    const leaving = kept
      .sort((a, b) => rank(a) - rank(b) || a.inFlight - b.inFlight)
      .slice(0, Math.max(0, kept.length - wanted));
    for (const pod of leaving) pod.state = "draining";
    this.#pods = this.#pods.filter(({ state, inFlight }) => state !== "draining" || inFlight > 0);
  }
}

/** Pods that are not ready yet are the first to go. */
function rank({ state }: SimulatedPod): number {
  return state === "starting" ? 0 : 1;
}
