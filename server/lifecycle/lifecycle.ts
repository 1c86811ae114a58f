import type { Log } from "../observability/log.ts";

/** Life of the program. */
export type LifecycleState =
  | { readonly kind: "starting" }
  | { readonly kind: "ready" }
  /** Not ready any more; calls are still taken until `drain-delay` has passed. */
  | { readonly kind: "leaving"; readonly signal: string }
  /** Calls in flight end, new ones are refused. */
  | { readonly kind: "draining"; readonly signal: string }
  | { readonly kind: "stopped"; readonly exitCode: number };

/** Exit codes of the program; `tensorwire --help` explains them. */
export const exitCodes = {
  ok: 0,
  failed: 1,
  usage: 2,
  listen: 3,
  models: 4,
  drainTimeout: 5,
} as const;

/** What a lifecycle acts on; the program gives the real ones, tests give their own. */
export interface LifecycleOptions {
  /** Time between a signal and the drain, in ms. */
  readonly drainDelayMs: number;
  /** Time for the drain, in ms. */
  readonly drainTimeoutMs: number;
  /** Stops taking calls; resolves when those in flight have ended. */
  readonly drain: () => Promise<void>;
  /** Ends what is left, in all cases. */
  readonly close: () => Promise<void>;
  readonly onState: (state: LifecycleState) => void;
  readonly exit: (code: number) => void;
  readonly after: (ms: number, action: () => void) => () => void;
  readonly log: Log;
}

/** Runs the program's end: signal, delay, drain, close, exit. */
export class Lifecycle {
  readonly #options: LifecycleOptions;
  #state: LifecycleState = { kind: "starting" };

  constructor(options: LifecycleOptions) {
    this.#options = options;
  }

  /** Where the program is. */
  get state(): LifecycleState {
    return this.#state;
  }

  /** The start is over. */
  ready(): void {
    if (this.#state.kind === "starting") this.#enter({ kind: "ready" });
  }

  /**
   * A signal arrived. The first begins the end; a second exits at once.
   *
   * @param exitCode - of an immediate exit: 128 plus the signal's number
   */
  onSignal(signal: string, exitCode: number): void {
    switch (this.#state.kind) {
      case "starting":
      case "ready": {
        const { drainDelayMs, after, log } = this.#options;
        log.info({ signal, drainDelayMs }, "stopping: not ready any more");
        this.#enter({ kind: "leaving", signal });
        if (drainDelayMs === 0) void this.#drain(signal);
        else after(drainDelayMs, () => void this.#drain(signal));
        return;
      }
      case "leaving":
      case "draining":
        this.#options.log.warn({ signal }, "stopping at once: a second signal");
        this.#stop(exitCode);
        return;
      case "stopped":
        return;
    }
  }

  /** Something failed that nothing handled: ends at once. */
  onFatal(error: unknown): void {
    this.#options.log.error({ err: error }, "stopping: an error that nothing handled");
    this.#stop(exitCodes.failed);
  }

  async #drain(signal: string): Promise<void> {
    if (this.#state.kind !== "leaving") return;
    this.#enter({ kind: "draining", signal });
    const { drain, close, after, drainTimeoutMs, log } = this.#options;
    const cancelTimeout = after(drainTimeoutMs, () => {
      log.error(
        { drainTimeoutMs },
        "calls were still in flight when the drain timeout passed; they are cut off",
      );
      this.#stop(exitCodes.drainTimeout);
    });
    try {
      await drain();
      cancelTimeout();
      await close();
      log.info({}, "stopped: every call in flight ended");
      this.#stop(exitCodes.ok);
    } catch (error) {
      this.onFatal(error);
    }
  }

  #stop(exitCode: number): void {
    if (this.#state.kind === "stopped") return;
    this.#enter({ kind: "stopped", exitCode });
    this.#options.exit(exitCode);
  }

  #enter(state: LifecycleState): void {
    this.#state = state;
    this.#options.onState(state);
  }
}
