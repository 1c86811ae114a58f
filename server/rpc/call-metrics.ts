import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { Counter, Histogram, type Registry } from "prom-client";

const types = {
  unary: "unary",
  server_streaming: "server_stream",
  client_streaming: "client_stream",
  bidi_streaming: "bidi_stream",
} as const;

/**
 * Counts calls under the names that gRPC servers of all languages use (go-grpc-middleware's
 * `grpc_server_*`), whichever of the three protocols they came in. Goes outside of the interceptor
 * that converts errors.
 */
export function createCallMetrics(registry: Registry): Interceptor {
  const labelNames = ["grpc_type", "grpc_service", "grpc_method"];
  const started = new Counter({
    name: "grpc_server_started_total",
    help: "Calls begun",
    labelNames,
    registers: [registry],
  });
  const handled = new Counter({
    name: "grpc_server_handled_total",
    help: "Calls ended, by status code",
    labelNames: [...labelNames, "grpc_code"],
    registers: [registry],
  });
  const seconds = new Histogram({
    name: "grpc_server_handling_seconds",
    help: "Time of calls",
    labelNames,
    buckets: [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30],
    registers: [registry],
  });
  return (next) => async (request) => {
    const labels = {
      grpc_type: types[request.method.methodKind],
      grpc_service: request.service.typeName,
      grpc_method: request.method.name,
    };
    started.inc(labels);
    const begun = performance.now();
    const end = (code: string): void => {
      handled.inc({ ...labels, grpc_code: code });
      seconds.observe(labels, (performance.now() - begun) / 1000);
    };
    try {
      const response = await next(request);
      if (!response.stream) {
        end("OK");
        return response;
      }
      return { ...response, message: counted(response.message, end) };
    } catch (error) {
      end(codeName(error));
      throw error;
    }
  };
}

async function* counted<T>(
  messages: AsyncIterable<T>,
  end: (code: string) => void,
): AsyncIterable<T> {
  // A stream that its reader leaves ends by return(), without an error and without its last message.
  let code = "Canceled";
  try {
    yield* messages;
    code = "OK";
  } catch (error) {
    code = codeName(error);
    throw error;
  } finally {
    end(code);
  }
}

function codeName(error: unknown): string {
  return Code[ConnectError.from(error).code];
}
