import type {
  ModelInferRequest,
  ModelInferResponse,
} from "../../../gen/inference/grpc_service_pb.ts";
import { SignalCallContext } from "../call-context.ts";
import { inferResponseMessage } from "../infer-messages.ts";
import { boundTimeout } from "../request-timeout.ts";
import type { RestCall } from "./rest-call.ts";

/** A timer for longer would fire at once. */
const longestTimerMs = 2 ** 31 - 1;

/**
 * Answers of a stream of ModelStreamInfer with the given requests. The call has a deadline: what its headers
 * ask for (`connect-timeout-ms`, `grpc-timeout`), at most the server's own limit, as a model may go on for as
 * long as it likes. Whoever leaves ends the models' work.
 *
 * @throws TensorwireError what the first request fails with that fails, or the call's own end
 */
export async function* modelAnswers(
  { context, options }: RestCall,
  requests: readonly ModelInferRequest[],
): AsyncGenerator<ModelInferResponse> {
  const { signal, peer, requestHeader, principal } = context;
  const limitMs = Math.min(options.maxTimeoutMs, longestTimerMs);
  const timeoutMs = boundTimeout(requestHeader, limitMs) ?? limitMs;
  const end = new AbortController();
  const onAbort = (): void => end.abort(signal.reason);
  const timer = setTimeout(() => {
    end.abort(new DOMException("the deadline has passed", "TimeoutError"));
  }, timeoutMs);
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  const within = new SignalCallContext(end.signal, peer, requestHeader, principal);
  try {
    for await (const answer of options.backend.modelStreamInfer(each(requests), within)) {
      if (answer.error) throw answer.error;
      if (answer.inferResponse) yield inferResponseMessage(answer.inferResponse);
    }
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

async function* each<T>(items: readonly T[]): AsyncGenerator<T> {
  yield* items;
}
