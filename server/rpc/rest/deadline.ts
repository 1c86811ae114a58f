import { SignalCallContext } from "../call-context.ts";
import { boundTimeout } from "../request-timeout.ts";
import type { RestCall } from "./rest-call.ts";

/** A timer for longer would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * The call with a deadline: what its headers ask for (`connect-timeout-ms`, `grpc-timeout`), at most the
 * server's own limit. For routes whose answers may go on for as long as a model likes.
 */
export function withDeadline(call: RestCall): RestCall {
  const { signal, peer, requestHeader, principal } = call.context;
  const { maxTimeoutMs } = call.options;
  const timeoutMs = boundTimeout(requestHeader, maxTimeoutMs) ?? maxTimeoutMs;
  const timeout = AbortSignal.timeout(Math.min(Math.ceil(timeoutMs), longestTimerMs));
  const both = AbortSignal.any([signal, timeout]);
  return { ...call, context: new SignalCallContext(both, peer, requestHeader, principal) };
}
