import type { CallOptions as ConnectCallOptions } from "@connectrpc/connect";
import { parameterInvalid } from "../../../server/errors/request-errors.ts";
import type { CallOptions } from "./client-options.ts";
import { InferenceError, inferenceError } from "./inference-error.ts";
import { mayRetry, type Repeatability, type RetryPolicy, retryDelayMs } from "./retry-policy.ts";

/** What all calls of a client share. */
export interface CallSettings {
  /** Address of the server, for messages. */
  readonly target: string;
  readonly timeoutMs: number | undefined;
  readonly retry: RetryPolicy;
}

/**
 * gRPC writes a timeout in at most 8 digits; a longer time (28 hours) counts as none.
 * https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#requests
 */
const longestTimeoutMs = 99_999_999;

/**
 * Runs a unary call within its deadline, tries again where that is safe, and converts what it throws.
 *
 * @param attempt - makes the call once, with the options of Connect
 * @throws InferenceError
 */
export async function runCall<T>(
  settings: CallSettings,
  repeatability: Repeatability,
  options: CallOptions | undefined,
  attempt: (options: ConnectCallOptions) => Promise<T>,
): Promise<T> {
  const timeoutMs = callTimeout(settings, options);
  const { signal, headers } = options ?? {};
  const deadline = timeoutMs === undefined ? Number.POSITIVE_INFINITY : now() + timeoutMs;
  for (let failures = 1; ; failures++) {
    const remaining = timeoutMs === undefined ? undefined : deadline - now();
    if (remaining !== undefined && remaining <= 0) throw deadlinePassed(timeoutMs);
    try {
      return await attempt({ timeoutMs: wholeMs(remaining), signal, headers });
    } catch (thrown) {
      const error = callError(thrown, settings, timeoutMs);
      if (failures >= settings.retry.attempts || !mayRetry(error, repeatability)) throw error;
      const delay = retryDelayMs(settings.retry, failures, error.retryAfterMs);
      // A wait past the deadline would only hide what the server said.
      if (now() + delay >= deadline) throw error;
      await wait(delay, signal);
    }
  }
}

/**
 * Time for a call, or `undefined` for no limit.
 *
 * @throws InferenceError `PARAMETER_INVALID`
 */
export function callTimeout(
  settings: CallSettings,
  options: CallOptions | undefined,
): number | undefined {
  const timeoutMs = options?.timeoutMs ?? settings.timeoutMs;
  if (timeoutMs === undefined) return undefined;
  if (typeof timeoutMs !== "number" || Number.isNaN(timeoutMs)) {
    throw inferenceError(parameterInvalid("timeoutMs", String(timeoutMs), "a number of ms"));
  }
  return timeoutMs > longestTimeoutMs ? undefined : timeoutMs;
}

/** Converts what a call threw; a deadline that passed on this side names the time it had. */
export function callError(
  thrown: unknown,
  settings: CallSettings,
  timeoutMs: number | undefined,
): InferenceError {
  const error = inferenceError(thrown, settings.target);
  const passedHere = error.code === "DEADLINE_EXCEEDED" && error.domain === undefined;
  return passedHere ? deadlinePassed(timeoutMs, thrown) : error;
}

/** The error of a call whose deadline passed on this side. */
export function deadlinePassed(timeoutMs: number | undefined, cause?: unknown): InferenceError {
  const time = timeoutMs === undefined ? "the deadline" : `${Math.max(0, timeoutMs)} ms`;
  return new InferenceError(`no answer within ${time}`, {
    code: "DEADLINE_EXCEEDED",
    reason: "DEADLINE_EXCEEDED",
    metadata: timeoutMs === undefined ? {} : { timeoutMs: `${timeoutMs}` },
    cause,
  });
}

/** The protocols say times in whole milliseconds. */
export function wholeMs(timeoutMs: number | undefined): number | undefined {
  return timeoutMs === undefined ? undefined : Math.ceil(timeoutMs);
}

function wait(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(cancelled(signal));
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", abort);
    function done() {
      signal?.removeEventListener("abort", abort);
      resolve();
    }
    function abort() {
      clearTimeout(timer);
      signal?.removeEventListener("abort", abort);
      reject(cancelled(signal!));
    }
  });
}

function cancelled(signal: AbortSignal): InferenceError {
  return new InferenceError("the call was cancelled while it waited to be tried again", {
    code: "CANCELLED",
    reason: "CALL_CANCELLED",
    cause: signal.reason,
  });
}

function now(): number {
  return performance.now();
}
