import { WaitingRequests } from "./waiting-requests.ts";

/** How pods behave. Times in ms. */
export interface PodModel {
  /** From the decision to have it until it is ready. */
  readonly startMs: number;
  /** Time that a request takes by itself, on average. */
  readonly serviceMs: number;
  /** Whether each takes just that, or times as chance has it (exponential). */
  readonly distribution: "fixed" | "exponential";
  /** Requests that are computed at once; others in the pod wait. */
  readonly parallelism: number;
  /** Requests that a pod takes at once (containerConcurrency); 0 for any number. */
  readonly concurrency: number;
}

/** Life of a pod. */
export type PodState = "starting" | "ready" | "draining";

/** A pod with its requests. */
export class SimulatedPod {
  readonly startedAt: number;
  state: PodState = "starting";
  running = 0;
  readonly waiting = new WaitingRequests();

  constructor(startedAt: number) {
    this.startedAt = startedAt;
  }

  get inFlight(): number {
    return this.running + this.waiting.length;
  }
}
