import { collectDefaultMetrics, Registry } from "prom-client";
import { ExternalScaler } from "../../gen/externalscaler/externalscaler_pb.ts";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { parseEndpoints } from "../autoscaling/scaler/endpoints.ts";
import { createExternalScaler } from "../autoscaling/scaler/external-scaler.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import { scalerSettings } from "../config/scaler-settings.ts";
import type { SettingValues } from "../config/setting.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { createLifecycle } from "../lifecycle/lifecycle.ts";
import { connectProcess } from "../lifecycle/process-events.ts";
import { createLogger } from "../observability/logger.ts";
import { CallMetrics } from "../rpc/call-metrics.ts";
import { createConnectHost, pathOf } from "../rpc/connect-host.ts";
import { createDrainGate } from "../rpc/drain-gate.ts";
import { createDrainInterceptor } from "../rpc/drain-streams.ts";
import { HealthRegistry } from "../rpc/health-registry.ts";
import { registerHealthService } from "../rpc/health-service.ts";
import { registerReflectionServices } from "../rpc/reflection-service.ts";
import { errorResponse } from "../rpc/rest/rest-error.ts";
import { listenWire } from "../wire/listen.ts";
import type { Command } from "./command.ts";
import type { Program } from "./program.ts";
import { readTls, registerWireMetrics } from "./serve-listen.ts";

const maxMessageBytes = 1024 * 1024;
const maxTimeoutMs = 3_600_000;
const fatalDrainTimeoutMs = 5_000;
const minIntervalMs = 500;
const clusterHosts = ["*.svc", "*.svc.cluster.local"];

/** `tensorwire scaler`. */
export const scalerCommand: Command = {
  name: "scaler",
  summary: "tell KEDA how much is asked of a workload",
  usage: "",
  description: [
    "Serves KEDA's external scaler over gRPC. The metadata of a trigger says what is measured and what each pod should have: requests at once and a second (of queue-proxies), any metric in Prometheus' text format, or an expression that a Prometheus server evaluates.",
    "Each source is looked at while KEDA asks for it; what KEDA is told is the average over a window.",
  ],
  examples: [
    [
      "tensorwire scaler --host 0.0.0.0 --prometheus-url http://prometheus.monitoring.svc:9090",
      "for triggers of the whole cluster",
    ],
    ["tensorwire scaler --endpoints 127.0.0.1:9090", "for one queue-proxy on this machine"],
  ],
  settings: scalerSettings,
  run: scaler,
};

type ScalerValues = SettingValues<typeof scalerSettings>;

async function scaler(argv: readonly string[], program: Program): Promise<number> {
  const { env, readFile, stdout } = program;
  const { values, positionals } = resolveSettings(scalerSettings, {
    argv,
    env,
    readFile,
    foreign: allFlags,
  });
  checkValues(values, positionals);
  const log = createLogger(values["log-level"], values["log-format"]);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const external = createExternalScaler({
    defaults: parseEndpoints(values.endpoints),
    allowedHosts: values["allow-hosts"].length > 0 ? values["allow-hosts"] : clusterHosts,
    prometheus: values["prometheus-url"],
    intervalMs: values.interval,
    env,
    registry,
    log,
  });
  const health = new HealthRegistry();
  const gate = createDrainGate();
  const lifecycle = createLifecycle({
    drainDelayMs: 0,
    drainTimeoutMs: values["drain-timeout"],
    fatalDrainTimeoutMs,
    onState: ({ kind }) => {
      if (kind === "leaving") health.close();
    },
    after: (ms, action) => {
      const timer = setTimeout(action, ms);
      return () => clearTimeout(timer);
    },
    log,
  });
  const metrics = new CallMetrics(registry);
  const handler = createConnectHost({
    routes(router) {
      external.register(router);
      registerHealthService(router, health);
      registerReflectionServices(router, [ExternalScaler, Health]);
    },
    maxMessageBytes,
    maxTimeoutMs,
    interceptors: [metrics.interceptor(), createDrainInterceptor(gate.closed)],
    onInternalError: (error, where) =>
      log.error({ err: error.cause, where }, "a call failed for a reason that is ours"),
    async fallback(request) {
      const path = pathOf(request.url);
      const isReady = lifecycle.state.kind === "ready";
      if (path === "/metrics") {
        const body = [Buffer.from(await registry.metrics())];
        const header = new Headers({ "content-type": registry.contentType });
        return { status: 200, header, body: iterate(body) };
      }
      if (path === "/health/live") return { status: 200 };
      if (path === "/health/ready") return { status: isReady ? 200 : 503 };
      return errorResponse(
        new TensorwireError(
          "ROUTE_NOT_FOUND",
          `${request.method} ${path} is not served; /metrics, /health/live and /health/ready are, and externalscaler.ExternalScaler over gRPC`,
          { path },
        ),
        path,
      );
    },
  });
  const wire = await listenWire({
    ...(await readTls(values)),
    tcp: { host: values.host, port: values.port },
    handler: gate.wrap(handler),
    onError: (error, where) => log.debug({ where, why: error.message }, "a connection failed"),
  });
  registerWireMetrics(registry, [wire]);
  lifecycle.onDrain({
    name: "calls in flight",
    async run() {
      external.close();
      gate.close();
      await gate.idle();
    },
  });
  lifecycle.onDrain({ name: "connections", run: () => wire.drain() });
  const disconnect = connectProcess(lifecycle, program.events, () => performance.now());
  lifecycle.ready();
  health.set("", true);
  health.set(ExternalScaler.typeName, true);
  const { host, port } = wire.tcpAddress!;
  stdout.write(`tensorwire scaler listens on ${host}:${port}\n`);
  try {
    return await lifecycle.stopped;
  } finally {
    disconnect();
    external.close();
    await wire.destroy();
  }
}

function checkValues(values: ScalerValues, positionals: readonly string[]): void {
  const problems: string[] = [];
  if (positionals.length > 0) problems.push(`got argument ${positionals[0]}, expected none`);
  if (values.interval < minIntervalMs) {
    problems.push(`--interval: got ${values.interval} ms, expected ${minIntervalMs} at least`);
  }
  const { "prometheus-url": url, "tls-cert": cert, "tls-key": key } = values;
  if (url !== undefined && !/^https?:\/\//i.test(url)) {
    problems.push(`--prometheus-url: got ${url}, expected such as http://prometheus:9090`);
  }
  if ((cert === undefined) !== (key === undefined)) {
    problems.push("--tls-cert and --tls-key belong together; one of them is missing");
  }
  try {
    parseEndpoints(values.endpoints);
  } catch (error) {
    problems.push(messageOf(error).replace("metadata endpoints of the trigger", "--endpoints"));
  }
  if (problems.length > 0) throw new TensorwireError("SETTING_INVALID", problems.join("\n"), {});
}

async function* iterate(parts: readonly Uint8Array[]): AsyncIterable<Uint8Array> {
  yield* parts;
}
