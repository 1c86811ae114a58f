import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import { errorDomain, type TensorwireError } from "../errors/tensorwire-error.ts";

/** Told of failures that are ours: whatever was thrown that is no answer to the caller. */
export type InternalErrorListener = (error: TensorwireError, method: string) => void;

/**
 * Answers what services throw: a {@link TensorwireError} with its code and message, and
 * google.rpc.ErrorInfo (and RetryInfo where a time to retry is known) as details.
 */
export function createErrorInterceptor(onInternalError: InternalErrorListener): Interceptor {
  return (next) => async (request) => {
    const method = `${request.service.typeName}/${request.method.name}`;
    let response: UnaryResponse | StreamResponse;
    try {
      response = await next(request);
    } catch (thrown) {
      throw convert(thrown, method, onInternalError);
    }
    if (!response.stream) return response;
    return { ...response, message: guarded(response.message, method, onInternalError) };
  };
}

async function* guarded<T>(
  messages: AsyncIterable<T>,
  method: string,
  onInternalError: InternalErrorListener,
): AsyncIterable<T> {
  try {
    yield* messages;
  } catch (thrown) {
    throw convert(thrown, method, onInternalError);
  }
}

function convert(
  thrown: unknown,
  method: string,
  onInternalError: InternalErrorListener,
): ConnectError {
  if (thrown instanceof ConnectError) return thrown;
  const error = fromUnknown(thrown);
  if (error.reason === "INTERNAL") onInternalError(error, method);
  return toConnectError(error);
}

/** The error as Connect, gRPC and gRPC-Web send it. */
export function toConnectError(error: TensorwireError): ConnectError {
  const { reason, message, metadata } = error;
  const converted = new ConnectError(message, error.code, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: errorDomain, metadata: { ...metadata } } },
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
