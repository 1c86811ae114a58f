import type { Registry } from "prom-client";
import type { KnativeEnvironment, RequestMetricsConfig } from "../config/knative-environment.ts";
import type { Log } from "../observability/log.ts";
import type { OtlpMetrics, OtlpProtocol } from "../observability/otlp/otlp-metrics.ts";
import type { CallTracer } from "../queue-proxy/call-tracer.ts";
import { knativeOtlpNames } from "../queue-proxy/knative-otlp-names.ts";
import { packageVersion } from "./package-version.ts";
import { spanSampling } from "./span-sampling-settings.ts";

type Variables = Readonly<Record<string, string | undefined>>;

/** Time between two exports if nobody says another one, in ms; as OpenTelemetry has it. */
const defaultIntervalMs = 60_000;

/**
 * Exports the metrics to a collector, if Knative's configuration says so. Variables of OpenTelemetry win
 * over it, as with the original. Nothing of OpenTelemetry is loaded otherwise.
 */
export async function exportRequestMetrics(
  environment: KnativeEnvironment,
  env: Variables,
  registry: Registry,
  log: Log,
): Promise<OtlpMetrics | undefined> {
  const { requestMetrics } = environment.observability;
  const { protocol } = requestMetrics;
  if (protocol === "none" || protocol === "prometheus") return undefined;
  const { startOtlpMetrics } = await import("../observability/otlp/otlp-metrics.ts");
  const version = packageVersion();
  return startOtlpMetrics({
    protocol,
    url: urlOf("METRICS", protocol, requestMetrics.endpoint, env),
    intervalMs: intervalOf(requestMetrics, env),
    resource: resourceOf(environment, env, version),
    version,
    registry,
    names: knativeOtlpNames,
    log,
  });
}

/** Spans of calls that go to a collector. */
export interface ExportedSpans {
  readonly tracer: CallTracer;
  /** Exports what waits, for a few seconds at most. */
  stop(): Promise<void>;
}

/**
 * Exports spans of calls to a collector, if Knative's configuration says so and any call is sampled.
 * Variables of OpenTelemetry win over it.
 */
export async function exportSpans(
  environment: KnativeEnvironment,
  env: Variables,
  registry: Registry,
  log: Log,
): Promise<ExportedSpans | undefined> {
  const { protocol, endpoint, samplingRate } = environment.observability.tracing;
  if (protocol === "none") return undefined;
  const sampling = spanSampling(samplingRate, env);
  if (sampling === "never") return undefined;
  const [{ startOtlpSpans }, { CallTracer }] = await Promise.all([
    import("../observability/otlp/otlp-spans.ts"),
    import("../queue-proxy/call-tracer.ts"),
  ]);
  const version = packageVersion();
  const spans = await startOtlpSpans({
    protocol,
    url: urlOf("TRACES", protocol, endpoint, env),
    resource: resourceOf(environment, env, version),
    version,
    registry,
    log,
  });
  return { tracer: new CallTracer(sampling, spans), stop: () => spans.stop() };
}

/** The endpoint as a URL: https if it has no scheme, and the path of OTLP if it has none. */
function urlOf(
  signal: "METRICS" | "TRACES",
  protocol: OtlpProtocol,
  endpoint: string,
  env: Variables,
): string | undefined {
  const named = env.OTEL_EXPORTER_OTLP_ENDPOINT || env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`];
  if (named || endpoint === "") return undefined;
  const url = endpoint.includes("://") ? endpoint : `https://${endpoint}`;
  const hasPath = /^[^/]*:\/\/[^/]*\//.test(url);
  return protocol === "grpc" || hasPath ? url : `${url}/v1/${signal.toLowerCase()}`;
}

function intervalOf({ exportIntervalMs }: RequestMetricsConfig, env: Variables): number {
  const given = Number(env.OTEL_METRIC_EXPORT_INTERVAL);
  if (Number.isFinite(given) && given > 0) return given;
  return exportIntervalMs > 0 ? exportIntervalMs : defaultIntervalMs;
}

/** What Knative's queue-proxy says of itself. */
function resourceOf(
  environment: KnativeEnvironment,
  env: Variables,
  version: string,
): Readonly<Record<string, string>> {
  const { namespace, service, configuration, revision, pod } = environment;
  const attributes = {
    "service.name": env.OTEL_SERVICE_NAME || service || configuration || revision || pod,
    "service.version": version,
    "service.instance.id": pod,
    "container.name": "queue-proxy",
    "k8s.namespace.name": namespace,
    "k8s.pod.name": pod,
    "kn.service.name": service,
    "kn.configuration.name": configuration,
    "kn.revision.name": revision,
  };
  return Object.fromEntries(Object.entries(attributes).filter(([, value]) => value !== ""));
}
