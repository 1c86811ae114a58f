import {
  Code,
  ConnectError,
  type Interceptor,
  type StreamResponse,
  type UnaryResponse,
} from "@connectrpc/connect";

/**
 * Puts right what @connectrpc/connect 2.2.0 makes of unusual answers, where it differs from its protocols
 * and from Connect's conformance suite:
 *
 * - An answer that the server broke off, or framed wrongly, is INTERNAL, not INVALID_ARGUMENT: the caller
 *   did nothing wrong.
 * - A stream of gRPC-Web without a message may have its trailers in its head; they are trailers.
 *
 * It must be the last interceptor, so that others see the answers as they should be.
 */
export const answerCorrections: Interceptor = (next) => async (request) => {
  let response: UnaryResponse | StreamResponse;
  try {
    response = await next(request);
  } catch (error) {
    throw corrected(error);
  }
  if (!response.stream) return response;
  const { header, trailer } = response;
  const type = header.get("content-type") ?? "";
  if (type.startsWith("application/grpc-web") && header.has("grpc-status")) {
    header.forEach((value, name) => {
      trailer.set(name, value);
    });
  }
  return { ...response, message: correctedStream(response.message) };
};

async function* correctedStream<Message>(messages: AsyncIterable<Message>): AsyncIterable<Message> {
  try {
    yield* messages;
  } catch (error) {
    throw corrected(error);
  }
}

function corrected(error: unknown): unknown {
  const isLocal = error instanceof ConnectError && !error.isWireError;
  if (!isLocal || error.code !== Code.InvalidArgument) return error;
  if (!/^(protocol error: |unexpected end flag)/.test(error.rawMessage)) return error;
  return new ConnectError(error.rawMessage, Code.Internal, error.metadata, undefined, error);
}
