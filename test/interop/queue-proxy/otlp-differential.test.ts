import test, { type ExecutionContext } from "ava";
import { call1, call2 } from "../../queue-proxy/http-calls.ts";
import {
  type SeenExport,
  type SeenMetric,
  startHttpCollector,
} from "../../queue-proxy/start-collector.ts";
import { type RunningProxy, startQueueProxy } from "../../queue-proxy/start-queue-proxy.ts";
import { type SeenSpan, startHttpTraceCollector } from "../../queue-proxy/start-trace-collector.ts";
import { startUserServer } from "../../queue-proxy/start-user-server.ts";
import { until } from "../../support/until.ts";
import { deadPort } from "../../wire/client/start-peers.ts";
import { hasOriginal, startOriginal, unpackOriginal } from "./peers.ts";

// What collectors of OpenTelemetry get of Knative's own queue-proxy, and of ours, for the same calls.
const maybe = hasOriginal ? test.serial : test.serial.skip;
const without = hasOriginal ? "" : " (TENSORWIRE_PEERS names no folder of knative-queue-proxy.xz)";

const parent = "b7ad6b7169203331";
const traceparent = `00-0af7651916cd43dd8448eb211c80319c-${parent}-01`;

/** Starts a proxy and the user's server on a port that both have. */
async function start(
  t: ExecutionContext,
  which: "original" | "ours",
  userPort: number,
  observability: object,
): Promise<RunningProxy> {
  await startUserServer(t, userPort);
  const env = {
    OBSERVABILITY_CONFIG: JSON.stringify(observability),
    SERVING_SERVICE: "iris-service",
    CONTAINER_CONCURRENCY: "2",
    // The original reads the name of the pod here too.
    POD_NAME: "iris-00001-deployment-5f6c",
  };
  return which === "ours"
    ? startQueueProxy(t, userPort, env)
    : startOriginal(t, unpackOriginal(t), userPort, await deadPort(), env);
}

/** Runs a part of a test with teardowns of its own: the ports of the original are fixed. */
async function alone<T>(t: ExecutionContext, run: (t: ExecutionContext) => Promise<T>): Promise<T> {
  const teardowns: (() => unknown)[] = [];
  const own = { ...t, teardown: (action: () => unknown) => void teardowns.push(action) };
  try {
    return await run(own as ExecutionContext);
  } finally {
    for (const action of teardowns.reverse()) await action();
  }
}

async function makeCalls({ port }: RunningProxy): Promise<void> {
  const fields = { Host: "iris.example:8080", traceparent };
  await call1(port, { method: "POST", path: "/echo", headers: fields, body: "hello" });
  await call1(port, { path: "/status?n=404", headers: fields });
  await call1(port, { path: "/echo", headers: { ...fields, "Knative-Serving-Tag": "blue" } });
  await call2(port, {
    headers: { ":authority": "iris.example", ":path": "/echo", traceparent },
  });
  await call1(port, {
    path: "/healthz",
    headers: { "user-agent": "kube-probe/1", "k-network-probe": "queue" },
  });
}

function exported(t: ExecutionContext, which: "original" | "ours", userPort: number) {
  return alone(t, async (own): Promise<SeenExport> => {
    const collector = await startHttpCollector(own);
    const endpoint = `http://127.0.0.1:${collector.port}/v1/metrics`;
    const proxy = await start(own, which, userPort, {
      requestMetrics: { protocol: "http/protobuf", endpoint, exportInterval: 300e6 },
    });
    await makeCalls(proxy);
    const whole = () =>
      collector.exports.find(
        ({ metrics }) => countOf(metrics.get("kn.serving.invocation.duration")) === 4,
      );
    await until(
      () => whole() !== undefined,
      () => `${which} exports four calls`,
    );
    return whole()!;
  });
}

function countOf(metric: SeenMetric | undefined): number {
  return (metric?.points ?? []).reduce((sum, { value }) => sum + value, 0);
}

/** What of a metric is the same wherever it was measured. */
function comparable(metric: SeenMetric | undefined, content: "values" | "attributes") {
  return {
    unit: metric?.unit,
    form: metric?.form,
    temporality: metric?.temporality,
    points: metric?.points
      .map(({ attributes, value, sum, bounds }) => ({
        attributes: Object.entries(attributes).sort(([a], [b]) => (a < b ? -1 : 1)),
        value,
        bounds,
        ...(content === "values" ? { sum } : {}),
      }))
      .sort((a, b) => (JSON.stringify(a.attributes) < JSON.stringify(b.attributes) ? -1 : 1)),
  };
}

maybe(
  `metrics have the names, units and attributes of Knative's queue-proxy${without}`,
  async (t) => {
    t.timeout(120_000);
    const userPort = await deadPort();
    const theirs = await exported(t, "original", userPort);
    const ours = await exported(t, "ours", userPort);
    const names = [...theirs.metrics.keys()].filter((name) => !name.startsWith("go."));
    t.deepEqual(names.sort(), [
      "http.client.request.body.size",
      "http.client.request.duration",
      "http.server.request.body.size",
      "http.server.request.duration",
      "http.server.response.body.size",
      "kn.serving.invocation.duration",
      "kn.serving.queue.depth",
    ]);
    for (const name of names) {
      if (name === "kn.serving.queue.depth") continue;
      const content = name === "http.server.request.body.size" ? "values" : "attributes";
      t.deepEqual(
        comparable(ours.metrics.get(name), content),
        comparable(theirs.metrics.get(name), content),
        name,
      );
    }
    const { unit, form } = theirs.metrics.get("kn.serving.queue.depth")!;
    t.like(ours.metrics.get("kn.serving.queue.depth"), { unit, form });
    const own = ["telemetry.sdk.language", "telemetry.sdk.version", "service.version"];
    const resource = ({ resource: all }: SeenExport) =>
      Object.fromEntries(Object.entries(all).filter(([name]) => !own.includes(name)));
    t.deepEqual(resource(ours), resource(theirs));
  },
);

function traced(t: ExecutionContext, which: "original" | "ours", userPort: number) {
  return alone(t, async (own): Promise<readonly SeenSpan[]> => {
    const collector = await startHttpTraceCollector(own);
    const endpoint = `http://127.0.0.1:${collector.port}/v1/traces`;
    const proxy = await start(own, which, userPort, {
      tracing: { protocol: "http/protobuf", endpoint, samplingRate: 1 },
    });
    await makeCalls(proxy);
    const ofServer = () => collector.spans.filter(({ kind }) => kind === "SPAN_KIND_SERVER");
    await until(
      () => ofServer().length === 4,
      () => `${which} exports four spans`,
    );
    return ofServer();
  });
}

maybe(
  `spans of calls are children of the caller's, as of Knative's queue-proxy${without}`,
  async (t) => {
    t.timeout(120_000);
    const userPort = await deadPort();
    const theirs = await traced(t, "original", userPort);
    const ours = await traced(t, "ours", userPort);
    const shared = [
      "http.request.method",
      "http.response.status_code",
      "server.address",
      "server.port",
      "url.path",
      "url.scheme",
      "network.protocol.version",
    ];
    const shown = (spans: readonly SeenSpan[]) =>
      spans
        .map(({ traceId, parentSpanId, status, attributes }) => [
          traceId,
          parentSpanId,
          status,
          ...shared.map((name) => attributes[name]),
        ])
        .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
    t.deepEqual(shown(ours), shown(theirs));
    t.true(ours.every(({ parentSpanId }) => parentSpanId === parent));
  },
);
