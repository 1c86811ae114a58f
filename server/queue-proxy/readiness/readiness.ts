import type { Log } from "../../observability/log.ts";
import type { WheelClock } from "../../wire/timer-wheel.ts";
import { askOnce } from "./probe-actions.ts";
import type { ProbeAction, ReadinessProbe } from "./read-probe.ts";

/** Of a probe without a period: time between attempts, for one, and for all, in ms. */
const retryMs = 50;
const attemptMs = 100;
const budgetMs = 10_000;

/** Asks a container once; `undefined`: it is ready, else why not. */
export type Ask = (action: ProbeAction, timeoutMs: number) => Promise<string | undefined>;

/**
 * Asks the user's containers whether they are ready: all probes at the same time, and all must succeed.
 * Those who want to know while it is being found out share the answer.
 */
export function createReadiness(
  probes: readonly ReadinessProbe[],
  log: Log,
  clock: WheelClock,
  ask: Ask = askOnce,
): () => Promise<boolean> {
  let running: Promise<boolean> | undefined;
  return () => {
    if (probes.length === 0) return Promise.resolve(true);
    running ??= askAll().finally(() => {
      running = undefined;
    });
    return running;
  };

  async function askAll(): Promise<boolean> {
    const ready = await Promise.all(probes.map((probe) => askOne(probe)));
    return ready.every((one) => one);
  }

  async function askOne(probe: ReadinessProbe): Promise<boolean> {
    const { action, successThreshold, timeoutMs, aggressive } = probe;
    const begun = clock.now();
    let successes = 0;
    for (;;) {
      const problem = await ask(action, aggressive ? attemptMs : timeoutMs);
      successes = problem === undefined ? successes + 1 : 0;
      if (successes >= successThreshold) return true;
      if (problem !== undefined) log.debug({ probe: action.kind, why: problem }, "not ready");
      if (!aggressive) {
        if (problem !== undefined) return false;
        continue;
      }
      if (clock.now() - begun + retryMs >= budgetMs) return false;
      await new Promise<void>((resolve) => void clock.after(retryMs, resolve));
    }
  }
}
