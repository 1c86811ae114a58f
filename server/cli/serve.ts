import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import { collectDefaultMetrics, Gauge, Registry } from "prom-client";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import { serveSettings } from "../config/serve-settings.ts";
import type { SettingValues } from "../config/setting.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import { exitCodes, Lifecycle } from "../lifecycle/lifecycle.ts";
import type { Log } from "../observability/log.ts";
import { createLogger } from "../observability/logger.ts";
import { createPredictor, type Predictor } from "../predictor/predictor.ts";
import { createCallMetrics } from "../rpc/call-metrics.ts";
import { createConnectHost, pathOf } from "../rpc/connect-host.ts";
import { withCors } from "../rpc/cors.ts";
import { createDrainGate, type DrainGate } from "../rpc/drain-gate.ts";
import { HealthRegistry } from "../rpc/health-registry.ts";
import { registerHealthService } from "../rpc/health-service.ts";
import { registerInferenceService } from "../rpc/inference-connect-service.ts";
import { registerReflectionServices } from "../rpc/reflection-service.ts";
import { errorResponse } from "../rpc/rest/rest-error.ts";
import { createRestHandler } from "../rpc/rest/rest-handler.ts";
import { createStaticFiles, type StaticFiles } from "../rpc/static-files.ts";
import { listenWire } from "../wire/listen.ts";
import type { WireServer } from "../wire/wire-server.ts";
import { clientSettings } from "./client-settings.ts";
import type { Command } from "./command.ts";
import { packageVersion } from "./package-version.ts";
import { serveBanner } from "./serve-banner.ts";

type Values = SettingValues<typeof serveSettings>;

/** `tensorwire serve`. */
export const serveCommand: Command = {
  name: "serve",
  summary: "serve models over gRPC, gRPC-Web, Connect and REST",
  usage: "<model-repository>...",
  description:
    "Serves ONNX models. A model repository is a folder of <model>/<version>/model.onnx, each with an optional config.pbtxt and label files; or a folder that holds model.onnx; or an .onnx file. Without config.pbtxt, inputs, outputs, datatypes and shapes come from the model.\nA model that fails to load does not stop the others; the start-up screen, the log and RepositoryIndex say why it failed.",
  examples: [
    ["tensorwire serve ./models", "every model of a folder on http://127.0.0.1:8080"],
    ["tensorwire serve digits.onnx --port 9000", "one model file"],
    [
      "tensorwire serve /mnt/models --model-name churn --host 0.0.0.0",
      "KServe's model folder, for other machines",
    ],
    [
      "tensorwire serve ./models --model-control-mode explicit --load-model iris",
      "one model now, others when RepositoryModelLoad asks",
    ],
  ],
  settings: serveSettings,
  run: serve,
};

async function serve(argv: readonly string[]): Promise<number> {
  const begun = performance.now();
  const { values, positionals } = resolveSettings(serveSettings, {
    argv,
    env: process.env,
    readFile: (path) => readFileSync(path, "utf8"),
    foreign: Object.keys(clientSettings),
  });
  const repositories = [...positionals, ...values["model-repository"]];
  checkSettings(values, repositories);
  const version = packageVersion();
  const log = createLogger(values["log-level"], values["log-format"]);
  if (values["allow-remote-control"]) {
    log.warn({}, "--allow-remote-control: whoever reaches this server may load and unload models");
  }
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const predictor = createPredictor({
    repositories,
    modelName: values["model-name"],
    controlMode: values["model-control-mode"],
    loadModels: values["load-model"],
    pollIntervalMs: values["repository-poll-interval"],
    allowRemoteControl: values["allow-remote-control"],
    strictReadiness: values["strict-readiness"],
    maxQueueSize: values["max-queue-size"],
    modelThreads: values["model-threads"],
    intraOpThreads: values["intra-op-threads"],
    execution: values.execution,
    serverName: "tensorwire",
    serverVersion: version,
    registry,
    log,
  });

  const health = new HealthRegistry();
  let ready = false;
  const updateHealth = (): void => {
    if (health.closed) return;
    const serving = ready && predictor.isReady();
    health.set("", serving);
    health.set(GRPCInferenceService.typeName, serving);
  };
  predictor.onReadiness((model, serving) => {
    if (health.closed) return;
    health.set(model, serving);
    updateHealth();
  });
  updateHealth();

  const gate = createDrainGate();
  const handler = await createHandler(
    values,
    predictor,
    health,
    gate,
    registry,
    log,
    () => ready && predictor.isReady(),
  );
  // Listening comes first, so that liveness and start-up probes are answered while models load.
  const wire = await listen(values, handler, log);
  registerWireMetrics(registry, wire);

  return await new Promise<number>((resolve) => {
    const lifecycle = new Lifecycle({
      drainDelayMs: values["drain-delay"],
      drainTimeoutMs: values["drain-timeout"],
      onState: ({ kind }) => {
        ready = kind === "ready";
        if (kind === "ready") updateHealth();
        else if (kind === "leaving") health.close();
      },
      drain: async () => {
        gate.close();
        await gate.idle();
        await wire.drain();
      },
      close: async () => {
        await wire.destroy();
        await predictor.close();
      },
      exit: resolve,
      after: (ms, action) => {
        const timer = setTimeout(action, ms);
        return () => clearTimeout(timer);
      },
      log,
    });
    process.on("SIGTERM", () => lifecycle.onSignal("SIGTERM", 143));
    process.on("SIGINT", () => lifecycle.onSignal("SIGINT", 130));
    process.on("uncaughtException", (error) => lifecycle.onFatal(error));
    process.on("unhandledRejection", (error) => lifecycle.onFatal(error));

    predictor.start().then(
      () => {
        const failed = predictor.index().some(({ state }) => state.kind === "failed");
        if (failed && values["exit-on-error"]) {
          log.error({}, "a model failed to load, and --exit-on-error is set");
          resolve(exitCodes.models);
          return;
        }
        lifecycle.ready();
        if (values.banner) printBanner(values, version, wire, predictor, performance.now() - begun);
        else log.info({ address: addressOf(values, wire) }, "serving");
      },
      (error: unknown) => {
        log.error({ why: messageOf(error) }, "the models could not be loaded");
        resolve(exitCodes.models);
      },
    );
  });
}

function checkSettings(values: Values, repositories: readonly string[]): void {
  const problems: string[] = [];
  if (repositories.length === 0)
    problems.push(
      "no model repository is given; name a folder or an .onnx file: tensorwire serve ./models",
    );
  if ((values["tls-cert"] === undefined) !== (values["tls-key"] === undefined))
    problems.push("--tls-cert and --tls-key belong together; one of them is missing");
  if (values["tls-client-ca"] !== undefined && values["tls-cert"] === undefined)
    problems.push("--tls-client-ca needs --tls-cert and --tls-key");
  if (values["load-model"].length > 0 && values["model-control-mode"] !== "explicit") {
    problems.push("--load-model means something in --model-control-mode explicit only");
  }
  if (problems.length > 0) throw new TensorwireError("SETTING_INVALID", problems.join("\n"));
}

async function createHandler(
  values: Values,
  predictor: Predictor,
  health: HealthRegistry,
  gate: DrainGate,
  registry: Registry,
  log: Log,
  isReady: () => boolean,
): Promise<UniversalHandlerFn> {
  const onInternalError = (error: TensorwireError, where: string): void => {
    log.error({ err: error.cause, where }, "a call failed for a reason that is ours");
  };
  const rest = createRestHandler({
    backend: predictor.backend,
    probes: { isStarted: predictor.isReady, isReady },
    metrics: async () => ({ contentType: registry.contentType, text: await registry.metrics() }),
    maxBodyBytes: values["max-message-size"],
    onInternalError,
  });
  const files = await openStaticFiles(values["static-dir"]);
  const handler = createConnectHost({
    routes(router) {
      registerInferenceService(router, predictor.backend);
      registerHealthService(router, health);
      registerReflectionServices(router, [GRPCInferenceService, Health]);
    },
    maxMessageBytes: values["max-message-size"],
    maxTimeoutMs: values["max-timeout"],
    interceptors: [createCallMetrics(registry)],
    onInternalError,
    async fallback(request) {
      const response = (await rest(request)) ?? (await files?.(request));
      if (response) return response;
      const path = pathOf(request.url);
      return errorResponse(
        new TensorwireError(
          "ROUTE_NOT_FOUND",
          `${request.method} ${path} is not served; docs/rest.md lists what is`,
          { path },
        ),
      );
    },
  });
  return withCors(values["cors-origins"], gate.wrap(handler));
}

async function openStaticFiles(folder: string | undefined): Promise<StaticFiles | undefined> {
  if (folder === undefined) return undefined;
  try {
    return await createStaticFiles(folder);
  } catch (error) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `flag --static-dir: ${messageOf(error)}`,
      {},
      { cause: error },
    );
  }
}

async function listen(values: Values, handler: UniversalHandlerFn, log: Log): Promise<WireServer> {
  const { "tls-cert": cert, "tls-key": key, "tls-client-ca": clientCa } = values;
  const pem = async (flag: string, path: string): Promise<Buffer> => {
    try {
      return await readFile(path);
    } catch (error) {
      throw new TensorwireError(
        "SETTING_INVALID",
        `flag --${flag}: ${messageOf(error)}`,
        {},
        { cause: error },
      );
    }
  };
  const tls =
    cert === undefined || key === undefined
      ? undefined
      : {
          cert: await pem("tls-cert", cert),
          key: await pem("tls-key", key),
          ...(clientCa === undefined ? {} : { clientCa: await pem("tls-client-ca", clientCa) }),
        };
  return listenWire({
    tcp: { host: values.host, port: values.port },
    ...(values.unix === undefined ? {} : { unix: { path: values.unix } }),
    ...(tls ? { tls } : {}),
    limits: {
      maxConnections: values["max-connections"],
      maxConcurrentStreams: values["max-concurrent-streams"],
      maxHeaderListBytes: 32 * 1024,
      handshakeTimeoutMs: values["handshake-timeout"],
      idleTimeoutMs: values["idle-timeout"],
    },
    handler,
    onError: (error, where) => log.debug({ where, why: error.message }, "a connection failed"),
  });
}

function registerWireMetrics(registry: Registry, wire: WireServer): void {
  const gauge = (name: string, help: string, value: () => number): void => {
    new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(value());
      },
    });
  };
  gauge(
    "tensorwire_open_connections",
    "Connections that are open",
    () => wire.stats.openConnections,
  );
  gauge(
    "tensorwire_open_requests",
    "HTTP requests and streams that are open",
    () => wire.stats.openStreams,
  );
  gauge(
    "tensorwire_refused_connections",
    "Connections refused since the start, by --max-connections or while draining",
    () => wire.stats.refusedConnections,
  );
}

function addressOf(values: Values, wire: WireServer): string {
  const { host, port } = wire.tcpAddress ?? { host: values.host, port: values.port };
  // An address that means all of them cannot be called; this machine's own can.
  const callable =
    host === "0.0.0.0" || host === "::" ? "localhost" : host.includes(":") ? `[${host}]` : host;
  return `${values["tls-cert"] === undefined ? "http" : "https"}://${callable}:${port}`;
}

function printBanner(
  values: Values,
  version: string,
  wire: WireServer,
  predictor: Predictor,
  startMs: number,
): void {
  process.stdout.write(
    serveBanner({
      version,
      url: addressOf(values, wire),
      unixPath: wire.unixPath,
      rows: predictor.index(),
      startMs,
      page: values["static-dir"] !== undefined,
    }),
  );
}
