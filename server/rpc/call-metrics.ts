import type { DescMethod } from "@bufbuild/protobuf";
import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import type { Registry } from "prom-client";
import {
  BoundCounter,
  BoundHistogram,
  type CounterCell,
  type HistogramCell,
} from "../observability/bound-metrics.ts";

const types = {
  unary: "unary",
  server_streaming: "server_stream",
  client_streaming: "client_stream",
  bidi_streaming: "bidi_stream",
} as const;

/** Seconds. */
const buckets = [
  0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30,
];

/** Counts of one method. */
export class MethodMetrics {
  readonly #started: CounterCell;
  readonly #handled: BoundCounter;
  #ok: CounterCell | undefined;
  readonly #seconds: HistogramCell;
  readonly #labels: Readonly<Record<string, string>>;

  constructor(
    labels: Readonly<Record<string, string>>,
    started: BoundCounter,
    handled: BoundCounter,
    seconds: BoundHistogram,
  ) {
    this.#labels = labels;
    this.#handled = handled;
    this.#started = started.bind(labels);
    this.#seconds = seconds.bind(labels);
  }

  /** @returns the time at which the call began, for {@link succeeded} or {@link failed} */
  begun(): number {
    this.#started.inc();
    return performance.now();
  }

  succeeded(begun: number): void {
    this.#ok ??= this.#handled.bind({ ...this.#labels, grpc_code: "OK" });
    this.#ok.inc();
    this.#seconds.observe((performance.now() - begun) / 1000);
  }

  /** @param code - name of the status, as gRPC servers of other languages count it: `NotFound` */
  failed(begun: number, code: string): void {
    this.#handled.bind({ ...this.#labels, grpc_code: code }).inc();
    this.#seconds.observe((performance.now() - begun) / 1000);
  }
}

/**
 * Counts calls under the names that gRPC servers of all languages use (go-grpc-middleware's
 * `grpc_server_*`), whichever of the three protocols they came in.
 */
export class CallMetrics {
  readonly #started: BoundCounter;
  readonly #handled: BoundCounter;
  readonly #seconds: BoundHistogram;
  readonly #methods = new Map<DescMethod, MethodMetrics>();

  constructor(registry: Registry) {
    this.#started = new BoundCounter({
      name: "grpc_server_started_total",
      help: "Calls begun",
      registry,
    });
    this.#handled = new BoundCounter({
      name: "grpc_server_handled_total",
      help: "Calls ended, by status code",
      registry,
    });
    this.#seconds = new BoundHistogram({
      name: "grpc_server_handling_seconds",
      help: "Time of calls",
      buckets,
      registry,
    });
  }

  of(method: DescMethod): MethodMetrics {
    let metrics = this.#methods.get(method);
    if (!metrics) {
      const labels = {
        grpc_type: types[method.methodKind],
        grpc_service: method.parent.typeName,
        grpc_method: method.name,
      };
      metrics = new MethodMetrics(labels, this.#started, this.#handled, this.#seconds);
      this.#methods.set(method, metrics);
    }
    return metrics;
  }

  /** For Connect's router; goes outside of the interceptor that converts errors. */
  interceptor(): Interceptor {
    return (next) => async (request) => {
      const metrics = this.of(request.method);
      const begun = metrics.begun();
      try {
        const response = await next(request);
        if (!response.stream) {
          metrics.succeeded(begun);
          return response;
        }
        return { ...response, message: counted(response.message, metrics, begun) };
      } catch (error) {
        metrics.failed(begun, codeName(error));
        throw error;
      }
    };
  }
}

async function* counted<T>(
  messages: AsyncIterable<T>,
  metrics: MethodMetrics,
  begun: number,
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
    if (code === "OK") metrics.succeeded(begun);
    else metrics.failed(begun, code);
  }
}

function codeName(error: unknown): string {
  return Code[ConnectError.from(error).code];
}
