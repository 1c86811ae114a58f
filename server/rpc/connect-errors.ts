import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import { errorDomain, TensorwireError } from "../errors/tensorwire-error.ts";
import { PeerGoneError } from "../wire/request-signal.ts";
import { abortedCall, messagesUntilAborted, untilAborted } from "./until-aborted.ts";

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

/** The error as Connect, gRPC and gRPC-Web send it. */
export function toConnectError(error: TensorwireError): ConnectError {
  const { reason, metadata } = error;
  // Variables come from callers, and what is no Unicode text cannot be sent.
  const texts = Object.entries(metadata).map(([key, value]) => [key, value.toWellFormed()]);
  const converted = new ConnectError(error.message.toWellFormed(), error.code, undefined, [
    {
      desc: ErrorInfoSchema,
      value: { reason, domain: errorDomain, metadata: Object.fromEntries(texts) },
    },
  ]);
  const { retryAfterMs } = metadata;
  if (retryAfterMs !== undefined && converted.code === Code.Unavailable) {
    const ms = Number(retryAfterMs);
    converted.details.push({
      desc: RetryInfoSchema,
      value: { retryDelay: { seconds: BigInt(Math.floor(ms / 1000)), nanos: (ms % 1000) * 1e6 } },
    });
  }
  return converted;
}
