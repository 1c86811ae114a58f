import { connect } from "node:http2";
import test, { type ExecutionContext } from "ava";
import { until } from "../support/until.ts";
import { grpcCaller } from "./grpc-calls.ts";
import { call1 } from "./http-calls.ts";
import { type ProxyEnvironment, startQueueProxy } from "./start-queue-proxy.ts";
import {
  type SeenSpan,
  startGrpcTraceCollector,
  startHttpTraceCollector,
  type TraceCollector,
} from "./start-trace-collector.ts";
import { type SeenRequest, startUserServer } from "./start-user-server.ts";

const caller = { traceId: "0af7651916cd43dd8448eb211c80319c", spanId: "b7ad6b7169203331" };
const sampled = `00-${caller.traceId}-${caller.spanId}-01`;
const notSampled = `00-${caller.traceId}-${caller.spanId}-00`;

/** A proxy that traces; `end` ends it and gives the spans. */
async function start(
  t: ExecutionContext,
  protocol: "grpc" | "http/protobuf",
  samplingRate: number,
  env: ProxyEnvironment = {},
) {
  const collector: TraceCollector =
    protocol === "grpc" ? await startGrpcTraceCollector(t) : await startHttpTraceCollector(t);
  const user = await startUserServer(t);
  const endpoint = `http://127.0.0.1:${collector.port}`;
  const proxy = await startQueueProxy(
    t,
    user.port,
    {
      OBSERVABILITY_CONFIG: JSON.stringify({ tracing: { protocol, endpoint, samplingRate } }),
      ...env,
    },
    ["--quiet-period", "1ms"],
  );
  /** What the server got of a call. */
  const headersOf = async (headers: Readonly<Record<string, string>>) => {
    const { body } = await call1(proxy.port, { path: "/echo?key=secret", headers });
    return (JSON.parse(body) as SeenRequest).headers as Record<string, string>;
  };
  const end = async (): Promise<readonly SeenSpan[]> => {
    proxy.signal("SIGTERM");
    t.is(await proxy.ended, 0);
    return collector.spans;
  };
  return { proxy, user, headersOf, end };
}

test.serial("a call becomes a span between the caller's and the server's", async (t) => {
  const { headersOf, end, proxy } = await start(t, "http/protobuf", 1);
  const fields = { Host: "iris.example:8080", "user-agent": "curl/8", tracestate: "v=1" };
  const seen = await headersOf({ ...fields, traceparent: sampled });
  // Probes are not traced.
  await call1(proxy.port, {
    headers: { "user-agent": "kube-probe/1", "k-network-probe": "queue" },
  });
  const spans = await end();
  t.is(spans.length, 1);
  const [span] = spans as [SeenSpan];
  t.like(span, {
    service: "iris",
    traceId: caller.traceId,
    parentSpanId: caller.spanId,
    name: "GET",
    kind: "SPAN_KIND_SERVER",
    status: "STATUS_CODE_UNSET",
  });
  t.is(seen.traceparent, `00-${caller.traceId}-${span.spanId}-01`);
  t.is(seen.tracestate, "v=1");
  t.not(span.spanId, caller.spanId);
  const { "tensorwire.queue.wait_ms": waited, ...attributes } = span.attributes;
  t.true((waited as number) >= 0 && (waited as number) <= span.durationMs);
  t.deepEqual(attributes, {
    "http.request.method": "GET",
    "http.response.status_code": 200,
    "url.path": "/echo",
    "url.scheme": "http",
    "network.protocol.name": "http",
    "network.protocol.version": "1.1",
    "client.address": "127.0.0.1",
    "server.address": "iris.example",
    "server.port": 8080,
    "user_agent.original": "curl/8",
  });
});

test.serial("calls of gRPC are named by their method, and fail by their status", async (t) => {
  const { proxy, end } = await start(t, "grpc", 1);
  const { call } = grpcCaller(t, proxy.port);
  await call("Unary", "abc");
  // NOT_FOUND is the caller's fault, INTERNAL the server's.
  await t.throwsAsync(call("Fails", ""));
  await t.throwsAsync(call("FailsLate", ""));
  const spans = await end();
  const shown = spans.map(({ name, status, attributes }) => [
    name,
    status,
    attributes["rpc.method"],
    attributes["rpc.grpc.status_code"],
    attributes["error.type"],
  ]);
  t.deepEqual(shown, [
    ["test.Service/Unary", "STATUS_CODE_UNSET", "Unary", 0, undefined],
    ["test.Service/Fails", "STATUS_CODE_UNSET", "Fails", 5, undefined],
    ["test.Service/FailsLate", "STATUS_CODE_ERROR", "FailsLate", 13, "13"],
  ]);
  t.is(new Set(spans.map(({ traceId }) => traceId)).size, 3);
  for (const { parentSpanId, attributes } of spans) {
    t.is(parentSpanId, "");
    t.like(attributes, { "rpc.system": "grpc", "rpc.service": "test.Service" });
  }
});

test.serial(
  "a rate between 0 and 1 leaves the decision to callers that have made one",
  async (t) => {
    const { headersOf, end } = await start(t, "http/protobuf", 1e-9);
    t.regex((await headersOf({ traceparent: sampled })).traceparent!, /-01$/);
    const first = await headersOf({ traceparent: notSampled });
    const second = await headersOf({ traceparent: notSampled });
    t.regex(first.traceparent!, new RegExp(`^00-${caller.traceId}-.*-00$`));
    t.not(first.traceparent, second.traceparent);
    const fresh = await headersOf({ tracestate: "of=nobody" });
    t.regex(fresh.traceparent!, /^00-[0-9a-f]{32}-[0-9a-f]{16}-00$/);
    t.is(fresh.tracestate, undefined);
    t.is((await end()).length, 1);
  },
);

test.serial("a rate of 0 lets the caller's trace pass untouched", async (t) => {
  const { headersOf, end } = await start(t, "http/protobuf", 0);
  t.is((await headersOf({ traceparent: sampled })).traceparent, sampled);
  t.deepEqual(await end(), []);
});

test.serial("equal heads of one connection have places of their own in the trace", async (t) => {
  const { proxy, end } = await start(t, "http/protobuf", 1);
  const session = connect(`http://127.0.0.1:${proxy.port}`);
  t.teardown(() => session.destroy());
  const seen: (string | undefined)[] = [];
  for (let index = 0; index < 4; index++) {
    const stream = session.request({ ":path": "/echo", traceparent: sampled });
    let body = "";
    for await (const part of stream) body += part;
    const { headers } = JSON.parse(body) as SeenRequest;
    seen.push((headers as Record<string, string>).traceparent);
  }
  session.close();
  const spans = await end();
  t.deepEqual(
    seen,
    spans.map(({ spanId }) => `00-${caller.traceId}-${spanId}-01`),
  );
  t.is(new Set(seen).size, 4);
});

test.serial("a server that cannot be reached makes the span one that failed", async (t) => {
  const { proxy, user, end } = await start(t, "http/protobuf", 1);
  await user.close();
  const { status } = await call1(proxy.port, { path: "/echo" });
  t.is(status, 502);
  const [span] = (await end()) as [SeenSpan];
  t.is(span.status, "STATUS_CODE_ERROR");
  t.like(span.attributes, { "error.type": "502", "http.response.status_code": 502 });
});

test.serial("the request log can name the trace", async (t) => {
  const tracing = { protocol: "http/protobuf", endpoint: "http://127.0.0.1:1", samplingRate: 1 };
  const log = { enableRequestLog: true, requestLogTemplate: "trace <{{.TraceID}}>" };
  const { proxy, headersOf } = await start(t, "http/protobuf", 1, {
    OBSERVABILITY_CONFIG: JSON.stringify({ tracing, ...log }),
  });
  await headersOf({ traceparent: sampled });
  await until(() => proxy.stdout().includes("\n"));
  t.is(proxy.stdout(), `trace <${caller.traceId}>\n`);
  const untraced = await start(t, "http/protobuf", 1, {
    OBSERVABILITY_CONFIG: JSON.stringify(log),
  });
  await untraced.headersOf({});
  await until(() => untraced.proxy.stdout().includes("\n"));
  t.is(untraced.proxy.stdout(), "trace <>\n");
});

test.serial("spans that no collector takes are counted, and delay nothing", async (t) => {
  const { proxy, headersOf, end } = await start(t, "http/protobuf", 1, {
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:1/v1/traces",
    OTEL_EXPORTER_OTLP_TIMEOUT: "100",
  });
  const total = 600;
  for (let at = 0; at < total; at += 50) {
    await Promise.all(Array.from({ length: 50 }, () => headersOf({})));
  }
  const dropped = async (): Promise<number> => {
    const { body } = await call1(proxy.metricsPort, { path: "/metrics" });
    return Number(/^tensorwire_otlp_spans_dropped_total (\d+)/m.exec(body)?.[1]);
  };
  // A batch is 512.
  await until(async () => (await dropped()) >= 512);
  t.regex(proxy.stderr(), /the collector does not take exports/);
  t.deepEqual(await end(), []);
});
