import { knativeEnvironmentInvalid } from "../errors/proxy-errors.ts";

/** What Knative tells its queue-proxy by environment variables (knative.dev/serving, pkg/queue/sharedmain). */
export interface KnativeEnvironment {
  /** Calls at once; 0 is without a limit. */
  readonly containerConcurrency: number;
  readonly servingPort: number;
  readonly servingTlsPort: number;
  readonly userPort: number;
  /** In seconds; 0 is without one, for the last two. */
  readonly revisionTimeoutSeconds: number;
  readonly responseStartTimeoutSeconds: number;
  readonly idleTimeoutSeconds: number;
  readonly loggingLevel: string;
  readonly namespace: string;
  readonly service: string;
  readonly configuration: string;
  readonly revision: string;
  readonly pod: string;
  readonly podIp: string;
  /** A Probe of Kubernetes as JSON; empty: always ready. */
  readonly readinessProbe: string;
  readonly fullDuplex: boolean;
  readonly http2AutoDetection: boolean;
  readonly multiContainerProbes: boolean;
  readonly observability: ObservabilityConfig;
}

/** Contents of OBSERVABILITY_CONFIG, as far as they are used. */
export interface ObservabilityConfig {
  readonly enableRequestLog: boolean;
  readonly requestLogTemplate: string;
  readonly enableProbeRequestLog: boolean;
  readonly requestMetrics: RequestMetricsConfig;
  readonly tracing: TracingConfig;
}

/** How spans of calls are given away. */
export interface TracingConfig {
  readonly protocol: TracingProtocol;
  /** URL of a collector; empty if it is not said. */
  readonly endpoint: string;
  /** Share of traces, from 0 to 1. */
  readonly samplingRate: number;
}

const tracingProtocols = ["none", "grpc", "http/protobuf"] as const;

/** One of those that Knative's queue-proxy has. */
export type TracingProtocol = (typeof tracingProtocols)[number];

/** How metrics of requests are given away. */
export interface RequestMetricsConfig {
  readonly protocol: RequestMetricsProtocol;
  /** URL of a collector, or of Prometheus' port; empty if it is not said. */
  readonly endpoint: string;
  /** Between two exports, in ms; 0 if it is not said. */
  readonly exportIntervalMs: number;
}

const metricsProtocols = ["none", "prometheus", "grpc", "http/protobuf"] as const;

/** One of those that Knative has. */
export type RequestMetricsProtocol = (typeof metricsProtocols)[number];

type Variables = Readonly<Record<string, string | undefined>>;

/**
 * Reads the environment. Variables that are not known are let pass, and empty texts are fine, as with the
 * original.
 *
 * @throws TensorwireError `SETTING_INVALID` that names each variable that is missing, or no number
 */
export function readKnativeEnvironment(env: Variables): KnativeEnvironment {
  const reader = new Reader(env);
  const result: KnativeEnvironment = {
    containerConcurrency: reader.count("CONTAINER_CONCURRENCY"),
    servingPort: reader.port("QUEUE_SERVING_PORT"),
    servingTlsPort: reader.port("QUEUE_SERVING_TLS_PORT"),
    userPort: reader.port("USER_PORT"),
    revisionTimeoutSeconds: reader.count("REVISION_TIMEOUT_SECONDS"),
    responseStartTimeoutSeconds: reader.count("REVISION_RESPONSE_START_TIMEOUT_SECONDS", 0),
    idleTimeoutSeconds: reader.count("REVISION_IDLE_TIMEOUT_SECONDS", 0),
    loggingLevel: reader.text("SERVING_LOGGING_LEVEL"),
    namespace: reader.text("SERVING_NAMESPACE"),
    service: env.SERVING_SERVICE ?? "",
    configuration: reader.text("SERVING_CONFIGURATION"),
    revision: reader.text("SERVING_REVISION"),
    pod: reader.text("SERVING_POD"),
    podIp: reader.text("SERVING_POD_IP"),
    readinessProbe: env.SERVING_READINESS_PROBE ?? "",
    fullDuplex: reader.flag("ENABLE_HTTP_FULL_DUPLEX"),
    http2AutoDetection: reader.flag("ENABLE_HTTP2_AUTO_DETECTION"),
    multiContainerProbes: reader.flag("ENABLE_MULTI_CONTAINER_PROBES"),
    observability: reader.observability("OBSERVABILITY_CONFIG"),
  };
  reader.text("SERVING_LOGGING_CONFIG");
  reader.throwIfAny();
  return result;
}

class Reader {
  readonly #env: Variables;
  readonly #problems: string[] = [];

  constructor(env: Variables) {
    this.#env = env;
  }

  throwIfAny(): void {
    if (this.#problems.length > 0) throw knativeEnvironmentInvalid(this.#problems);
  }

  text(name: string): string {
    const value = this.#env[name];
    if (value === undefined) this.#problems.push(`${name} is missing; it may be empty`);
    return value ?? "";
  }

  count(name: string, whenMissing?: number): number {
    return this.#number(name, "a whole number of at least 0", Number.MAX_SAFE_INTEGER, whenMissing);
  }

  port(name: string): number {
    return this.#number(name, "a port from 0 to 65535", 65_535);
  }

  #number(name: string, expected: string, max: number, whenMissing?: number): number {
    const value = this.#env[name];
    if (value === undefined || value === "") {
      if (whenMissing !== undefined) return whenMissing;
      this.#problems.push(
        `${name} is ${value === undefined ? "missing" : "empty"}, expected ${expected}`,
      );
      return 0;
    }
    const number = /^\d{1,15}$/.test(value) ? Number(value) : -1;
    if (number >= 0 && number <= max) return number;
    this.#problems.push(`${name} is "${value}", expected ${expected}`);
    return 0;
  }

  flag(name: string): boolean {
    const value = this.#env[name];
    if (value === undefined || value === "") return false;
    // What Go's strconv.ParseBool takes.
    if (/^(1|t|T|true|TRUE|True)$/.test(value)) return true;
    if (/^(0|f|F|false|FALSE|False)$/.test(value)) return false;
    this.#problems.push(`${name} is "${value}", expected true or false`);
    return false;
  }

  observability(name: string): ObservabilityConfig {
    const value = this.#env[name];
    let config: Record<string, unknown> = {};
    if (value) {
      try {
        config = JSON.parse(value) as Record<string, unknown>;
      } catch (error) {
        this.#problems.push(`${name} is no JSON: ${(error as Error).message}`);
      }
    }
    const metrics = (config.requestMetrics ?? {}) as Record<string, unknown>;
    const tracing = (config.tracing ?? {}) as Record<string, unknown>;
    const text = (from: unknown, otherwise: string): string =>
      typeof from === "string" ? from : otherwise;
    return {
      enableRequestLog: config.enableRequestLog === true,
      requestLogTemplate: text(config.requestLogTemplate, ""),
      enableProbeRequestLog: config.enableProbeRequestLog === true,
      requestMetrics: {
        protocol: this.#protocol(
          `${name} has requestMetrics.protocol`,
          text(metrics.protocol, ""),
          metricsProtocols,
        ),
        endpoint: text(metrics.endpoint, ""),
        exportIntervalMs: this.#interval(name, metrics.exportInterval),
      },
      tracing: {
        protocol: this.#protocol(
          `${name} has tracing.protocol`,
          text(tracing.protocol, ""),
          tracingProtocols,
        ),
        endpoint: text(tracing.endpoint, ""),
        samplingRate: this.#share(`${name} has tracing.samplingRate`, tracing.samplingRate),
      },
    };
  }

  #protocol<const P extends string>(what: string, given: string, known: readonly P[]): P | "none" {
    if (given === "") return "none";
    const found = known.find((protocol) => protocol === given);
    if (found) return found;
    this.#problems.push(`${what} "${given}", expected ${known.join(", ")}`);
    return "none";
  }

  #share(what: string, given: unknown): number {
    if (given === undefined) return 0;
    if (typeof given === "number" && given >= 0 && given <= 1) return given;
    this.#problems.push(`${what} ${JSON.stringify(given)}, expected a number from 0 to 1`);
    return 0;
  }

  /** A duration of Go, which JSON has in ns. */
  #interval(name: string, given: unknown): number {
    if (given === undefined) return 0;
    if (typeof given === "number" && given >= 0) return given / 1e6;
    this.#problems.push(
      `${name} has requestMetrics.exportInterval ${JSON.stringify(given)}, expected a number of nanoseconds of at least 0`,
    );
    return 0;
  }
}
