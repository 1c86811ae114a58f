import { messageOf } from "../errors/from-unknown.ts";
import type { Log } from "../observability/log.ts";
import { exitCodes } from "./exit-codes.ts";

/** Life of the program. */
export type LifecycleState =
  | { readonly kind: "starting" }
  | { readonly kind: "ready" }
  /** Not ready any more; calls are still taken until the drain delay has passed. */
  | { readonly kind: "leaving"; readonly cause: string }
  /** Calls in flight end, new ones are refused. */
  | { readonly kind: "draining"; readonly cause: string }
  | { readonly kind: "stopped"; readonly exitCode: number };

/** Log of the program's own life. */
export interface LifecycleLog extends Log {
  fatal(fields: object, message: string): void;
}

/** Something to be done at the end. */
export interface DrainStep {
  /** For the log. */
  readonly name: string;
  run(): Promise<void>;
}

/** What a lifecycle acts on; the program gives the real ones, tests give their own. */
export interface LifecycleOptions {
  /** Time between a signal and the drain, in ms. */
  readonly drainDelayMs: number;
  /** Time for all drain steps together, in ms. */
  readonly drainTimeoutMs: number;
  /** Time for them after an error that nothing handled, in ms. */
  readonly fatalDrainTimeoutMs: number;
  /** Told of every state after `starting`. */
  readonly onState: (state: LifecycleState) => void;
  /** Calls `action` after a time; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
  readonly log: LifecycleLog;
}

/** Runs the program's end: a signal or a fatal error, the delay, the drain steps, the exit code. */
export interface Lifecycle {
  readonly state: LifecycleState;
  /** Resolves with the exit code when the program is to end. */
  readonly stopped: Promise<number>;
  /** Adds a step; steps run one after the other, in the order in which they were added. */
  onDrain(step: DrainStep): void;
  /** The start is over. */
  ready(): void;
  /**
   * A signal came. The first begins the end; a second ends at once.
   *
   * @param exitCode - of an immediate end: 128 plus the signal's number
   */
  onSignal(signal: string, exitCode: number): void;
  /** Something failed that nothing handled: a short drain, and exit code 1. */
  onFatal(error: unknown): void;
}

/** Makes the lifecycle of a program that is starting. */
export function createLifecycle(options: LifecycleOptions): Lifecycle {
  return new ProgramLifecycle(options);
}

class ProgramLifecycle implements Lifecycle {
  readonly #options: LifecycleOptions;
  readonly #steps: DrainStep[] = [];
  readonly #stopped = Promise.withResolvers<number>();
  #state: LifecycleState = { kind: "starting" };
  #exitCode: number = exitCodes.ok;
  #cancelTimer: () => void = () => {};

  constructor(options: LifecycleOptions) {
    this.#options = options;
  }

  get state(): LifecycleState {
    return this.#state;
  }

  get stopped(): Promise<number> {
    return this.#stopped.promise;
  }

  onDrain(step: DrainStep): void {
    this.#steps.push(step);
  }

  ready(): void {
    if (this.#state.kind === "starting") this.#enter({ kind: "ready" });
  }

  onSignal(signal: string, exitCode: number): void {
    const { drainDelayMs, drainTimeoutMs, after, log } = this.#options;
    switch (this.#state.kind) {
      case "starting":
      case "ready":
        log.info({ signal, drainDelayMs }, "stopping: not ready any more");
        this.#enter({ kind: "leaving", cause: signal });
        if (drainDelayMs === 0) void this.#drain(signal, drainTimeoutMs);
        else
          this.#cancelTimer = after(drainDelayMs, () => void this.#drain(signal, drainTimeoutMs));
        return;
      case "leaving":
      case "draining":
        log.warn({ signal }, "stopping at once: a second signal");
        this.#stop(exitCode);
        return;
      case "stopped":
        return;
    }
  }

  onFatal(error: unknown): void {
    const { log, fatalDrainTimeoutMs } = this.#options;
    log.fatal({ err: error }, "an error that nothing handled");
    this.#exitCode = exitCodes.failed;
    switch (this.#state.kind) {
      case "starting":
      case "ready":
      case "leaving":
        this.#cancelTimer();
        this.#enter({ kind: "leaving", cause: "fatal error" });
        void this.#drain("fatal error", fatalDrainTimeoutMs);
        return;
      case "draining":
      case "stopped":
        return;
    }
  }

  async #drain(cause: string, timeoutMs: number): Promise<void> {
    if (this.#state.kind !== "leaving") return;
    const { after, log } = this.#options;
    this.#enter({ kind: "draining", cause });
    let current = "";
    this.#cancelTimer = after(timeoutMs, () => {
      log.error({ step: current, timeoutMs }, "the drain timeout passed; what is left is cut off");
      this.#stop(this.#exitCode || exitCodes.drainTimeout);
    });
    for (const step of this.#steps) {
      current = step.name;
      try {
        await step.run();
      } catch (error) {
        log.error({ err: error, step: step.name }, `stopping: ${messageOf(error)}`);
        this.#exitCode = exitCodes.failed;
      }
      if (this.#isStopped()) return;
    }
    log.info({}, "stopped");
    this.#stop(this.#exitCode);
  }

  #isStopped(): boolean {
    return this.#state.kind === "stopped";
  }

  #stop(exitCode: number): void {
    if (this.#isStopped()) return;
    this.#cancelTimer();
    this.#enter({ kind: "stopped", exitCode });
    this.#stopped.resolve(exitCode);
  }

  #enter(state: LifecycleState): void {
    this.#state = state;
    this.#options.onState(state);
  }
}
