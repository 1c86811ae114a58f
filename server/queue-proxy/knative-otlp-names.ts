import type { OtlpAttribute, OtlpNames } from "../observability/otlp/otlp-names.ts";

const text = (name: string): OtlpAttribute => ({ name, kind: "text" });
const number = (name: string): OtlpAttribute => ({ name, kind: "number" });

const httpAttributes: Readonly<Record<string, OtlpAttribute>> = {
  http_request_method: text("http.request.method"),
  http_response_status_code: number("http.response.status_code"),
  kn_route_tag: text("kn.route.tag"),
  network_protocol_name: text("network.protocol.name"),
  network_protocol_version: text("network.protocol.version"),
  server_address: text("server.address"),
  server_port: number("server.port"),
  url_scheme: text("url.scheme"),
  otel_metric_overflow: { name: "otel.metric.overflow", kind: "truth" },
};

/** Names that Knative's queue-proxy has for its metrics in OpenTelemetry. */
export const knativeOtlpNames: OtlpNames = {
  kn_serving_invocation_duration_seconds: {
    name: "kn.serving.invocation.duration",
    unit: "s",
    attributes: httpAttributes,
  },
  kn_serving_queue_depth: { name: "kn.serving.queue.depth", unit: "{request}", attributes: {} },
  http_server_request_duration_seconds: {
    name: "http.server.request.duration",
    unit: "s",
    attributes: httpAttributes,
  },
  http_server_request_body_size_bytes: {
    name: "http.server.request.body.size",
    unit: "By",
    attributes: httpAttributes,
  },
  http_server_response_body_size_bytes: {
    name: "http.server.response.body.size",
    unit: "By",
    attributes: httpAttributes,
  },
  http_client_request_duration_seconds: {
    name: "http.client.request.duration",
    unit: "s",
    attributes: httpAttributes,
  },
  http_client_request_body_size_bytes: {
    name: "http.client.request.body.size",
    unit: "By",
    attributes: httpAttributes,
  },
};
