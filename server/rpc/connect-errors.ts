import {
  ConnectError,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import { fromUnknown } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { toConnectError } from "../errors/to-connect-error.ts";
import { PeerGoneError } from "../wire/request-signal.ts";
import { abortedCall, messagesUntilAborted, untilAborted } from "./until-aborted.ts";

export { toConnectError };

/** Told of failures that are ours: whatever was thrown that is no answer to the caller. */
export type InternalErrorListener = (error: TensorwireError, method: string) => void;

/**
 * Answers what services throw: a {@link TensorwireError} with its code and message, and
 * google.rpc.ErrorInfo (and RetryInfo where a time to retry is known) as details. A call whose
 * deadline passes, or whose caller leaves, ends there and then, whatever the service does.
 */
export function createErrorInterceptor(
  onInternalError: InternalErrorListener,
  describe: DescribeError = toConnectError,
): Interceptor {
  return (next) => async (request) => {
    const { signal } = request;
    const failed = (thrown: unknown): ConnectError =>
      convert(
        thrown,
        signal,
        `${request.service.typeName}/${request.method.name}`,
        onInternalError,
        describe,
      );
    let response: UnaryResponse | StreamResponse;
    try {
      response = await untilAborted(next(request), signal);
    } catch (thrown) {
      throw failed(thrown);
    }
    if (!response.stream) return response;
    return { ...response, message: converted(response.message, signal, failed) };
  };
}

async function* converted<T>(
  messages: AsyncIterable<T>,
  signal: AbortSignal,
  failed: (thrown: unknown) => ConnectError,
): AsyncIterable<T> {
  try {
    yield* messagesUntilAborted(messages, signal);
  } catch (thrown) {
    throw failed(thrown);
  }
}

function convert(
  thrown: unknown,
  signal: AbortSignal,
  method: string,
  onInternalError: InternalErrorListener,
  describe: DescribeError,
): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  // The caller is gone, or the service threw on what the signal says: no failure of ours.
  if (thrown instanceof PeerGoneError || (signal.aborted && !(thrown instanceof TensorwireError))) {
    return describe(abortedCall(signal));
  }
  const error = fromUnknown(thrown);
  if (error.reason === "INTERNAL") onInternalError(error, method);
  return describe(error);
}

/** How an error is told to callers. */
export type DescribeError = (error: TensorwireError) => ConnectError;
