import { once } from "node:events";
import { createServer } from "node:net";
import test from "ava";
import { startCommand } from "../support/command.ts";
import { until } from "../support/until.ts";
import { grpcCaller } from "./grpc-calls.ts";
import { call1 } from "./http-calls.ts";
import {
  type Collector,
  type SeenExport,
  type SeenMetric,
  startGrpcCollector,
  startHttpCollector,
} from "./start-collector.ts";
import { knativeEnvironment, startQueueProxy } from "./start-queue-proxy.ts";
import { startUserServer } from "./start-user-server.ts";

/** What Knative gives its queue-proxy for an export; an interval in ns. */
function exportTo(protocol: string, endpoint: string, exportInterval?: number) {
  return {
    OBSERVABILITY_CONFIG: JSON.stringify({
      requestMetrics: { protocol, endpoint, ...(exportInterval ? { exportInterval } : {}) },
    }),
  };
}

/** Observations of a histogram, or 0. */
function countOf(metric: SeenMetric | undefined): number {
  return (metric?.points ?? []).reduce((sum, { value }) => sum + value, 0);
}

/** The first export that has so many calls. */
async function exportWith(collector: Collector, calls: number): Promise<SeenExport> {
  const find = (): SeenExport | undefined =>
    collector.exports.find(
      ({ metrics }) => countOf(metrics.get("kn.serving.invocation.duration")) === calls,
    );
  await until(
    () => find() !== undefined,
    () =>
      `${collector.exports.length} exports have come, the last one with ${countOf(
        collector.exports.at(-1)?.metrics.get("kn.serving.invocation.duration"),
      )} calls`,
  );
  return find()!;
}

const knativeBounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

test.serial("request metrics go to a collector over HTTP, as Knative names them", async (t) => {
  const collector = await startHttpCollector(t);
  const user = await startUserServer(t);
  const proxy = await startQueueProxy(t, user.port, {
    ...exportTo("http/protobuf", `http://127.0.0.1:${collector.port}/v1/metrics`, 200e6),
    SERVING_SERVICE: "iris-service",
    CONTAINER_CONCURRENCY: "2",
    OTEL_RESOURCE_ATTRIBUTES: "team=blue,k8s.pod.name=not-this-one",
    OTEL_EXPORTER_OTLP_HEADERS: "x-key=secret",
  });
  const headers = { Host: "iris.example:8080" };
  await call1(proxy.port, { method: "POST", path: "/echo", headers, body: "hello" });
  await call1(proxy.port, { path: "/status?n=404", headers });
  // Probes are not counted.
  await call1(proxy.port, {
    path: "/healthz",
    headers: { "user-agent": "kube-probe/1", "k-network-probe": "queue" },
  });
  const { by, resource, metrics } = await exportWith(collector, 2);

  t.like(by, { path: "/v1/metrics", headers: { "x-key": "secret" } });
  t.like(resource, {
    "service.name": "iris-service",
    "service.instance.id": "iris-00001-deployment-5f6c",
    "container.name": "queue-proxy",
    "k8s.namespace.name": "default",
    "k8s.pod.name": "iris-00001-deployment-5f6c",
    "kn.service.name": "iris-service",
    "kn.configuration.name": "iris",
    "kn.revision.name": "iris-00001",
    "telemetry.sdk.language": "nodejs",
    team: "blue",
  });

  const invocation = metrics.get("kn.serving.invocation.duration")!;
  t.like(invocation, {
    unit: "s",
    form: "histogram",
    temporality: "AGGREGATION_TEMPORALITY_CUMULATIVE",
  });
  t.deepEqual(
    invocation.points.map(({ attributes, value }) => [attributes, value]),
    [
      [{ "http.response.status_code": 200 }, 1],
      [{ "http.response.status_code": 404 }, 1],
    ],
  );
  for (const { bounds, counts, sum, value, seconds } of invocation.points) {
    t.deepEqual(bounds, knativeBounds);
    t.is(counts.length, bounds.length + 1);
    t.is(
      counts.reduce((all, one) => all + one, 0),
      value,
    );
    t.true(sum! > 0 && sum! <= seconds);
  }
  t.like(metrics.get("kn.serving.queue.depth"), { unit: "{request}", form: "gauge" });

  const common = {
    "kn.route.tag": "kn:disabled",
    "network.protocol.name": "http",
    "network.protocol.version": "1.1",
    "url.scheme": "http",
  };
  const post = { "http.request.method": "POST", "http.response.status_code": 200, ...common };
  const get = { "http.request.method": "GET", "http.response.status_code": 404, ...common };
  const caller = { "server.address": "iris.example", "server.port": 8080 };
  const pod = { "server.address": "127.0.0.1", "server.port": user.port };
  const attributesOf = (name: string) => metrics.get(name)!.points.map((one) => one.attributes);
  for (const name of ["request.duration", "request.body.size", "response.body.size"]) {
    t.deepEqual(attributesOf(`http.server.${name}`), [
      { ...post, ...caller },
      { ...get, ...caller },
    ]);
  }
  for (const name of ["request.duration", "request.body.size"]) {
    t.deepEqual(attributesOf(`http.client.${name}`), [
      { ...post, ...pod },
      { ...get, ...pod },
    ]);
  }
  const sizes = metrics.get("http.server.request.body.size")!;
  t.is(sizes.unit, "By");
  t.deepEqual(
    sizes.points.map(({ sum }) => sum),
    [5, 0],
  );
  t.is(metrics.get("http.server.response.body.size")!.points[1]!.sum, "status".length);
  // What the proxy counts beyond Knative comes along.
  t.like(metrics.get("tensorwire_queue_bytes_total"), { form: "sum" });
});

test.serial(
  "request metrics go to a collector over gRPC, and a last time at the end",
  async (t) => {
    const collector = await startGrpcCollector(t);
    const user = await startUserServer(t);
    const proxy = await startQueueProxy(
      t,
      user.port,
      // An hour: what comes is the last one.
      exportTo("grpc", `http://127.0.0.1:${collector.port}`, 3600e9),
      ["--quiet-period", "1ms"],
    );
    const caller = grpcCaller(t, proxy.port);
    await caller.call("Unary", "abc");
    t.is(collector.exports.length, 0);
    proxy.signal("SIGTERM");
    t.is(await proxy.ended, 0);
    t.is(collector.exports.length, 1);
    const [{ by, resource, metrics }] = collector.exports as [SeenExport];
    t.is(by, "grpc");
    t.is(resource["service.name"], "iris");
    t.is(countOf(metrics.get("kn.serving.invocation.duration")), 1);
    t.like(metrics.get("http.server.request.duration")!.points[0]!.attributes, {
      "http.request.method": "POST",
      "network.protocol.version": "2.0",
    });
  },
);

test.serial("variables of OpenTelemetry win over Knative's configuration", async (t) => {
  const collector = await startHttpCollector(t);
  const user = await startUserServer(t);
  const proxy = await startQueueProxy(t, user.port, {
    ...exportTo("http/protobuf", "http://127.0.0.1:1/elsewhere", 3600e9),
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${collector.port}`,
    OTEL_METRIC_EXPORT_INTERVAL: "200",
    OTEL_SERVICE_NAME: "named",
  });
  await call1(proxy.port, { path: "/echo" });
  const { by, resource } = await exportWith(collector, 1);
  t.like(by, { path: "/v1/metrics" });
  t.is(resource["service.name"], "named");
});

test.serial("a collector that refuses is logged once, and its return too", async (t) => {
  let status = 400;
  const collector = await startHttpCollector(t, () => status);
  const user = await startUserServer(t);
  const proxy = await startQueueProxy(
    t,
    user.port,
    exportTo("http/protobuf", `http://127.0.0.1:${collector.port}`, 20e6),
  );
  const failed = async (): Promise<number> => {
    const { body } = await call1(proxy.metricsPort, { path: "/metrics" });
    return Number(
      /tensorwire_otlp_exports_total\{signal="metrics",outcome="failed"\} (\d+)/.exec(body)?.[1],
    );
  };
  await until(async () => (await failed()) >= 3);
  t.is((await call1(proxy.port, { path: "/echo" })).status, 200);
  t.is(proxy.stderr().split("the collector does not take exports").length - 1, 1);
  status = 200;
  await exportWith(collector, 1);
  await until(() => proxy.stderr().includes("the collector takes exports again"));
  t.is(proxy.stderr().split("the collector does not take exports").length - 1, 1);
});

test.serial(
  "a collector that never answers delays no call, and the end only a little",
  async (t) => {
    const deaf = createServer(() => {});
    deaf.listen(0, "127.0.0.1");
    await once(deaf, "listening");
    t.teardown(() => deaf.close());
    const { port } = deaf.address() as { port: number };
    const user = await startUserServer(t);
    const proxy = await startQueueProxy(
      t,
      user.port,
      {
        ...exportTo("http/protobuf", `http://127.0.0.1:${port}`, 20e6),
        OTEL_EXPORTER_OTLP_TIMEOUT: "3600000",
      },
      ["--quiet-period", "1ms"],
    );
    await until(async () => {
      const { body } = await call1(proxy.metricsPort, { path: "/metrics" });
      return /outcome="skipped"\} [1-9]/.test(body);
    });
    t.is((await call1(proxy.port, { path: "/echo" })).status, 200);
    proxy.signal("SIGTERM");
    t.is(await proxy.ended, 0);
  },
);

test.serial("an export that Knative's queue-proxy does not know ends the start", async (t) => {
  const command = startCommand(t, ["queue-proxy"], {
    ...knativeEnvironment(1, {}),
    OBSERVABILITY_CONFIG: JSON.stringify({
      requestMetrics: { protocol: "http/json", endpoint: "http://x", exportInterval: "30s" },
      tracing: { protocol: "zipkin", samplingRate: 2 },
    }),
  });
  t.is(await command.ended, 2);
  t.regex(
    command.stderr(),
    /requestMetrics\.protocol "http\/json", expected none, prometheus, grpc/,
  );
  t.regex(
    command.stderr(),
    /requestMetrics\.exportInterval "30s", expected a number of nanoseconds/,
  );
  t.regex(command.stderr(), /tracing\.protocol "zipkin", expected none, grpc, http\/protobuf/);
  t.regex(command.stderr(), /tracing\.samplingRate 2, expected a number from 0 to 1/);
});
