import { parameterInvalid } from "../../../server/errors/request-errors.ts";
import { errorDomain } from "../../../server/errors/tensorwire-error.ts";
import type { RetryOptions } from "./client-options.ts";
import { failureOfConnection } from "./connection-failure.ts";
import type { InferenceError } from "./inference-error.ts";

/** What a second try may do: nothing (`idempotent`), or run or change something twice (`once`). */
export type Repeatability = "idempotent" | "once";

/** {@link RetryOptions} with the defaults filled in. */
export type RetryPolicy = Readonly<Required<RetryOptions>>;

/** Reasons with which Tensorwire refuses a call before it does any work for it. */
const refusals: readonly (string | undefined)[] = [
  "SERVER_DRAINING",
  "QUEUE_FULL",
  "MODEL_NOT_READY",
];

/** Reasons that pass by themselves, so that a call which may be repeated is worth repeating. */
const passing: readonly (string | undefined)[] = [...refusals, "WORKER_LOST"];

/**
 * Fills in the defaults.
 *
 * @throws TensorwireError `PARAMETER_INVALID`
 */
export function retryPolicy(options: RetryOptions = {}): RetryPolicy {
  const { attempts = 4, initialDelayMs = 100, maxDelayMs = 2000 } = options;
  if (!Number.isInteger(attempts) || attempts < 1) {
    throw parameterInvalid("retry.attempts", `${attempts}`, "a whole number of 1 or more");
  }
  for (const [name, value] of Object.entries({ initialDelayMs, maxDelayMs })) {
    if (!(value >= 0)) throw parameterInvalid(`retry.${name}`, `${value}`, "0 ms or more");
  }
  return { attempts, initialDelayMs, maxDelayMs };
}

/** Whether a second try is safe, and may end better than the first. */
export function mayRetry(error: InferenceError, repeatability: Repeatability): boolean {
  if (error.code !== "UNAVAILABLE") return false;
  if (error.domain === errorDomain) {
    return (repeatability === "idempotent" ? passing : refusals).includes(error.reason);
  }
  if (repeatability === "idempotent") return true;
  return failureOfConnection(error.cause)?.processed === "never-sent";
}

/**
 * How long to wait after the n-th failure in ms: between half and all of a time that doubles with
 * each failure. What the server asks for is waited in full, and the jitter comes on top.
 *
 * @param failures - 1 after the first
 * @param random - from 0 to below 1
 */
export function retryDelayMs(
  policy: RetryPolicy,
  failures: number,
  retryAfterMs: number | undefined,
  random: () => number = Math.random,
): number {
  const longest = Math.min(policy.maxDelayMs, policy.initialDelayMs * 2 ** (failures - 1));
  if (retryAfterMs !== undefined) return retryAfterMs + (longest / 2) * random();
  return longest / 2 + (longest / 2) * random();
}
