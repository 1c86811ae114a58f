import { randomFillSync } from "node:crypto";
import type { SpanSink } from "../observability/otlp/finished-span.ts";
import type { CallerProtocol } from "../wire/client/forward-failure.ts";
import type { RequestHead } from "../wire/http2/message-head.ts";
import { authorityParts } from "./authority-parts.ts";
import { httpVersionOf } from "./http-version.ts";
import { plainAddress } from "./rewrite-head.ts";
import { isSampled, type SpanSampling } from "./span-sampling.ts";
import { type CallTrace, readTraceParent } from "./trace-context.ts";

/** Characters of a value that are kept. */
const maxValueLength = 512;

/** A call that is over. */
export interface TracedCall {
  readonly head: RequestHead;
  readonly protocol: CallerProtocol;
  /** Of HTTP; 0 if the caller went before it was sent one. */
  readonly status: number;
  readonly grpcStatus: number | undefined;
  readonly error: { readonly message: string } | undefined;
  /** By performance.now(). */
  readonly arrivedAt: number;
}

/** Makes a span of each call, and has the server's spans be its children. */
export class CallTracer {
  readonly #sampling: SpanSampling;
  readonly #sink: SpanSink;

  constructor(sampling: SpanSampling, sink: SpanSink) {
    this.#sampling = sampling;
    this.#sink = sink;
  }

  /** A call has come. */
  begin(head: RequestHead): CallTrace {
    const given = head.get("traceparent");
    const parent = given === undefined ? undefined : readTraceParent(given);
    const traceId = parent?.traceId ?? randomHex(16);
    return {
      traceId,
      spanId: randomHex(8),
      sampled: isSampled(this.#sampling, traceId, parent),
      parent,
    };
  }

  /**
   * A call is over.
   *
   * @param address - of the caller
   * @param waitedMs - in the queue; -1 if it was not sent to the server
   */
  end(trace: CallTrace, call: TracedCall, address: string, waitedMs: number, now: number): void {
    if (!trace.sampled) return;
    this.#sink.end({
      traceId: trace.traceId,
      spanId: trace.spanId,
      parentSpanId: trace.parent?.spanId,
      name: nameOf(call),
      startMs: call.arrivedAt,
      endMs: now,
      attributes: attributesOf(call, address, waitedMs),
      error: failureOf(call),
    });
  }
}

/** As the conventions name spans of servers: the method of gRPC, or the one of HTTP without a path, which callers choose. */
function nameOf({ head, protocol }: TracedCall): string {
  return cut(protocol === "http" ? head.method : head.path.slice(1));
}

/** @see https://opentelemetry.io/docs/specs/semconv/http/http-spans/ */
function attributesOf(
  call: TracedCall,
  address: string,
  waitedMs: number,
): Record<string, string | number> {
  const { head, protocol, status, grpcStatus } = call;
  const agent = head.get("user-agent");
  const host = authorityParts(cut(head.authority ?? ""));
  const failure = failureOf(call);
  const attributes: Record<string, string | number> = {
    "http.request.method": cut(head.method),
    // Without the query, which may hold secrets.
    "url.path": cut(head.path.split("?")[0]!),
    "url.scheme": head.scheme,
    "network.protocol.name": "http",
    "network.protocol.version": httpVersionOf(head),
    "client.address": plainAddress(address),
  };
  if (host.address !== "") attributes["server.address"] = host.address;
  if (host.port !== "") attributes["server.port"] = Number(host.port);
  if (agent !== undefined) attributes["user_agent.original"] = cut(agent);
  if (status !== 0) attributes["http.response.status_code"] = status;
  if (waitedMs !== -1) attributes["tensorwire.queue.wait_ms"] = waitedMs;
  if (protocol !== "http") {
    const [, service = "", method = ""] = head.path.split("/");
    attributes["rpc.system"] = "grpc";
    attributes["rpc.service"] = cut(service);
    attributes["rpc.method"] = cut(method);
    if (grpcStatus !== undefined) attributes["rpc.grpc.status_code"] = grpcStatus;
  }
  if (failure !== undefined) {
    attributes["error.type"] = grpcStatus === undefined ? `${status}` : `${grpcStatus}`;
  }
  return attributes;
}

/** Callers choose values, and spans wait in memory: what is longer is cut off. */
function cut(value: string): string {
  return value.length > maxValueLength ? value.slice(0, maxValueLength) : value;
}

/** Codes of gRPC that say that the server failed, rather than the caller (conventions for RPC). */
const serverFailures = new Set([2, 4, 12, 13, 14, 15]);

function failureOf({ status, grpcStatus, error }: TracedCall): string | undefined {
  const failed = grpcStatus === undefined ? status >= 500 : serverFailures.has(grpcStatus);
  return failed ? (error?.message ?? "") : undefined;
}

/** Random bytes are cheap by the page. */
const pool = Buffer.alloc(4096);
let poolAt = pool.length;

function randomHex(bytes: number): string {
  if (poolAt + bytes > pool.length) {
    randomFillSync(pool);
    poolAt = 0;
  }
  poolAt += bytes;
  const hex = pool.toString("hex", poolAt - bytes, poolAt);
  // The identifier of zeros is not valid.
  return /^0+$/.test(hex) ? randomHex(bytes) : hex;
}
