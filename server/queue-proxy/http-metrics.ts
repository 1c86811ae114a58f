import type { Registry } from "prom-client";
import { BoundHistogram, type HistogramCell } from "../observability/bound-metrics.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";
import { authorityParts } from "./authority-parts.ts";
import { httpVersionOf } from "./http-version.ts";

/** Sets of attributes that are told apart; callers choose hosts and tags, so there must be an end. */
const maxSets = 2000;
/** Longer hosts and tags are left out. */
const maxValueLength = 255;

const seconds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];
const bytes = [0, 5, 10, 25, 50, 75, 100, 250, 500, 750, 1000, 2500, 5000, 7500, 10000];

type Labels = Readonly<Record<string, string>>;

/** Where the calls of one set of attributes are counted. */
interface CallCells {
  readonly duration: HistogramCell;
  readonly requestSize: HistogramCell;
  readonly responseSize: HistogramCell;
  readonly upstreamDuration: HistogramCell;
  readonly upstreamRequestSize: HistogramCell;
}

/**
 * Calls by method, status, host and route tag, as OpenTelemetry's conventions for HTTP have it and
 * Knative's queue-proxy counts them where request metrics are on.
 *
 * @see https://opentelemetry.io/docs/specs/semconv/http/http-metrics/
 */
export class HttpMetrics {
  readonly #duration: BoundHistogram;
  readonly #requestSize: BoundHistogram;
  readonly #responseSize: BoundHistogram;
  readonly #upstreamDuration: BoundHistogram;
  readonly #upstreamRequestSize: BoundHistogram;
  readonly #target: Labels;
  readonly #sets = new Map<string, CallCells>();
  #overflow: CallCells | undefined;

  /** @param target - address and port of the user's container; a unix socket has no port */
  constructor(registry: Registry, target: { readonly address: string; readonly port?: number }) {
    this.#target = {
      server_address: target.address,
      ...(target.port === undefined ? {} : { server_port: `${target.port}` }),
    };
    this.#duration = new BoundHistogram({
      name: "http_server_request_duration_seconds",
      help: "Duration of HTTP server requests",
      buckets: seconds,
      registry,
    });
    this.#requestSize = new BoundHistogram({
      name: "http_server_request_body_size_bytes",
      help: "Size of HTTP server request bodies",
      buckets: bytes,
      registry,
    });
    this.#responseSize = new BoundHistogram({
      name: "http_server_response_body_size_bytes",
      help: "Size of HTTP server response bodies",
      buckets: bytes,
      registry,
    });
    this.#upstreamDuration = new BoundHistogram({
      name: "http_client_request_duration_seconds",
      help: "Duration of requests to the user's container that it answered",
      buckets: seconds,
      registry,
    });
    this.#upstreamRequestSize = new BoundHistogram({
      name: "http_client_request_body_size_bytes",
      help: "Size of the bodies of requests that the user's container answered",
      buckets: bytes,
      registry,
    });
  }

  /**
   * A call is over.
   *
   * @param status - of HTTP; 0 if the caller went before it was sent one
   * @param upstreamMs - from sending it to the user's container to its end; -1 if that gave no whole answer
   */
  ended(
    head: RequestHead,
    status: number,
    durationMs: number,
    requestBytes: number,
    responseBytes: number,
    upstreamMs: number,
  ): void {
    const cells = this.#cellsOf(head, status);
    cells.duration.observe(durationMs / 1000);
    cells.requestSize.observe(requestBytes);
    cells.responseSize.observe(responseBytes);
    if (upstreamMs === -1) return;
    cells.upstreamDuration.observe(upstreamMs / 1000);
    cells.upstreamRequestSize.observe(requestBytes);
  }

  #cellsOf(head: RequestHead, status: number): CallCells {
    const method = knownMethods.has(head.method) ? head.method : "_OTHER";
    const tag = routeTagOf(head);
    const version = httpVersionOf(head);
    const host = bounded(head.authority ?? "");
    const key = `${method} ${status} ${version} ${head.scheme} ${host} ${tag}`;
    let cells = this.#sets.get(key);
    if (cells) return cells;
    if (this.#sets.size >= maxSets) {
      this.#overflow ??= this.#bind(overflowLabels, overflowLabels);
      return this.#overflow;
    }
    const labels: Labels = {
      http_request_method: method,
      ...(status === 0 ? {} : { http_response_status_code: `${status}` }),
      kn_route_tag: tag,
      network_protocol_name: "http",
      network_protocol_version: version,
    };
    const { address, port } = authorityParts(host);
    cells = this.#bind(
      {
        ...labels,
        ...(address === "" ? {} : { server_address: address }),
        ...(port === "" ? {} : { server_port: port }),
        url_scheme: head.scheme === "https" ? "https" : "http",
      },
      { ...labels, ...this.#target, url_scheme: "http" },
    );
    this.#sets.set(key, cells);
    return cells;
  }

  #bind(labels: Labels, upstream: Labels): CallCells {
    return {
      duration: this.#duration.bind(labels),
      requestSize: this.#requestSize.bind(labels),
      responseSize: this.#responseSize.bind(labels),
      upstreamDuration: this.#upstreamDuration.bind(upstream),
      upstreamRequestSize: this.#upstreamRequestSize.bind(upstream),
    };
  }
}

/** Of all calls beyond {@link maxSets}. */
const overflowLabels: Labels = { otel_metric_overflow: "true" };

/** Methods that the conventions know; others are chosen by callers. */
const knownMethods = new Set([
  "CONNECT",
  "DELETE",
  "GET",
  "HEAD",
  "OPTIONS",
  "PATCH",
  "POST",
  "PUT",
  "TRACE",
]);

/** The tag of the route by which a call came (knative.dev/serving, pkg/queue). */
function routeTagOf(head: RequestHead): string {
  const tag = head.get("knative-serving-tag") ?? "";
  const isDefault = head.get("knative-serving-default-route") ?? "";
  if (tag === "") return isDefault === "" ? "kn:disabled" : "kn:default";
  return isDefault === "true" ? "kn:undefined" : bounded(tag);
}

function bounded(value: string): string {
  return value.length > maxValueLength ? "" : value;
}
