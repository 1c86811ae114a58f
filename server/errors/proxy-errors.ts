import type { Reason } from "./registry.ts";
import { TensorwireError } from "./tensorwire-error.ts";

/** A call for which the queue of the proxy has no room. */
export function proxyQueueFull(limit: string, retryAfterMs: number): TensorwireError {
  return refusal(
    "PROXY_QUEUE_FULL",
    `the queue before the server is full (${limit}); call again later, or raise its limit`,
    { limit, retryAfterMs: `${retryAfterMs}` },
  );
}

/** A caller who calls more often than its rate allows. */
export function rateLimited(
  caller: string,
  perSecond: number,
  retryAfterMs: number,
): TensorwireError {
  return refusal(
    "RATE_LIMITED",
    `${caller} may make ${perSecond} calls a second and has made them; call again later`,
    { caller, perSecond: `${perSecond}`, retryAfterMs: `${retryAfterMs}` },
  );
}

/** A call that was taken out of the queue for others, or since it waited too long. */
export function callShed(why: string, waitedMs: number, retryAfterMs: number): TensorwireError {
  return refusal(
    "CALL_SHED",
    `the call was taken out of the queue after ${Math.round(waitedMs)} ms: ${why}; call again later`,
    { waitedMs: `${Math.round(waitedMs)}`, retryAfterMs: `${retryAfterMs}` },
  );
}

/** A call that took longer than the proxy lets calls take. */
export function proxyTimeout(which: string, limitMs: number): TensorwireError {
  return refusal(
    "PROXY_TIMEOUT",
    `the call has run into the ${which} timeout of ${limitMs / 1000} s; let it take less, or raise the timeout`,
    { timeout: which, limitMs: `${limitMs}` },
  );
}

/** A call whose time is over before it has reached the server. */
export function deadlineInQueue(deadlineMs: number, waitedMs: number): TensorwireError {
  return refusal(
    "DEADLINE_EXCEEDED",
    `the deadline of ${Math.round(deadlineMs)} ms passed while the call waited in the queue for ${Math.round(waitedMs)} ms; it was not sent to the server`,
    { deadlineMs: `${Math.round(deadlineMs)}`, waitedMs: `${Math.round(waitedMs)}` },
  );
}

/** A file of rules that cannot be used. */
export function rulesInvalid(path: string, problems: readonly string[]): TensorwireError {
  const list = problems.map((problem) => `\n  ${problem}`).join("");
  return new TensorwireError("SETTING_INVALID", `the rules of ${path} cannot be used:${list}`, {
    path,
  });
}

/** Variables of Knative that are missing, or that cannot be understood. */
export function knativeEnvironmentInvalid(problems: readonly string[]): TensorwireError {
  const list = problems.map((problem) => `\n  ${problem}`).join("");
  return new TensorwireError(
    "SETTING_INVALID",
    `the environment is not the one that Knative gives its queue-proxy:${list}`,
    {},
  );
}

function refusal(
  reason: Reason,
  message: string,
  metadata: Readonly<Record<string, string>>,
): TensorwireError {
  return new TensorwireError(reason, message, metadata);
}

/** A change of limits from another machine. */
export function queueControlNotLocal(what: string): TensorwireError {
  return new TensorwireError(
    "CONTROL_NOT_LOCAL",
    `${what} is accepted from this machine only; call from loopback, or start the proxy with --allow-remote-control`,
    {},
  );
}

/** Limits that cannot be. */
export function queueLimitInvalid(limit: string, given: number, expected: string): TensorwireError {
  return new TensorwireError("PARAMETER_INVALID", `${limit} is ${given}, expected ${expected}`, {
    parameter: limit,
    given: `${given}`,
  });
}

/** A class of calls that the rules do not have. */
export function callClassUnknown(name: string, known: readonly string[]): TensorwireError {
  return new TensorwireError(
    "CALL_CLASS_UNKNOWN",
    `there is no class "${name}"; classes are ${known.join(", ")}`,
    { class: name },
  );
}
