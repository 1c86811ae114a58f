import { setTimeout as delay } from "node:timers/promises";
import { collectDefaultMetrics, Registry } from "prom-client";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import { usableCores } from "../cluster/worker-count.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import { serveSettings } from "../config/serve-settings.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { type ExitCode, exitCodes } from "../lifecycle/exit-codes.ts";
import { createLifecycle } from "../lifecycle/lifecycle.ts";
import { connectProcess } from "../lifecycle/process-events.ts";
import type { Log } from "../observability/log.ts";
import { createLogger } from "../observability/logger.ts";
import { createPredictor, type Predictor } from "../predictor/predictor.ts";
import { createDrainGate } from "../rpc/drain-gate.ts";
import { HealthRegistry } from "../rpc/health-registry.ts";
import type { Command } from "./command.ts";
import { returnFreedMemory } from "./freed-memory.ts";
import { packageVersion } from "./package-version.ts";
import type { Program } from "./program.ts";
import { parseReplicas } from "./replica-bounds.ts";
import { asksForCredentials, openServeAccess } from "./serve-access.ts";
import { createServeHandler } from "./serve-handler.ts";
import { registerMemoryMetrics, registerWireMetrics } from "./serve-listen.ts";
import { onnxOptions } from "./serve-onnx.ts";
import { aloneRole, type ServeRole } from "./serve-role.ts";
import { openTraces } from "./serve-traces.ts";
import { checkServeValues, type ServeValues } from "./serve-values.ts";

/** Time for calls in flight to end after an error that nothing handled, in ms. */
const fatalDrainTimeoutMs = 5_000;
/** Time for peers to read that they are to go, in ms. */
const farewellMs = 1_000;

/** `tensorwire serve`. */
export const serveCommand: Command = {
  name: "serve",
  summary: "serve models over gRPC, gRPC-Web, Connect and REST",
  usage: "<model-repository>...",
  description: [
    "Serves ONNX models. A model repository is a folder of <model>/<version>/model.onnx, each model with an optional config.pbtxt and label files; or a folder that holds model.onnx; or MLServer's folders with model-settings.json; or an .onnx file. Without config.pbtxt, inputs, outputs, datatypes and shapes come from the model.",
    "A model that fails to load does not stop the others; the start-up screen, the log and RepositoryIndex say why it failed.",
  ],
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

async function serve(argv: readonly string[], program: Program): Promise<number> {
  const begun = performance.now();
  const { env, readFile } = program;
  const { values, positionals } = resolveSettings(serveSettings, {
    argv,
    env,
    readFile,
    foreign: allFlags,
  });
  const repositories = positionals.length > 0 ? positionals : values["model-repository"];
  checkServeValues(values, repositories);
  if (values["model-memory-limit"] !== undefined) returnFreedMemory(program);
  if (values["allow-remote-control"] && !asksForCredentials(values)) {
    createLogger(values["log-level"], values["log-format"]).warn(
      {},
      "--allow-remote-control: whoever reaches this server may load and unload models and register shared memory",
    );
  }
  const replicas = parseReplicas(values.replicas);
  const workers = values.workers || usableCores();
  if (replicas || workers > 1) {
    // A server that is alone has no use for it.
    const { superviseServe } = await import("./serve-supervisor.ts");
    return superviseServe({ values, repositories, workers, replicas, program, begun });
  }
  return runServer({ values, repositories }, aloneRole(values, program, begun));
}

/** What a server needs to know to start. */
export interface ServerSettings {
  readonly values: ServeValues;
  readonly repositories: readonly string[];
}

/**
 * Serves until a signal comes or the start fails.
 *
 * @returns the exit code
 */
export async function runServer(
  { values, repositories }: ServerSettings,
  role: ServeRole,
): Promise<number> {
  const log = createLogger(values["log-level"], values["log-format"]).child(role.logFields);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const traces = await openTraces(values, role.traceSuffix, registry, log);
  const predictor = createPredictor({
    repositories,
    modelName: values["model-name"],
    controlMode: values["model-control-mode"],
    loadModels: values["load-model"],
    modelLoading: values["model-loading"],
    preloadModels: values["preload-model"],
    pinModels: values["pin-model"],
    modelMemoryBytes: values["model-memory-limit"] ?? 0,
    modelLoadTimeoutMs: values["model-load-timeout"],
    pollIntervalMs: values["repository-poll-interval"],
    allowRemoteControl: values["allow-remote-control"],
    strictReadiness: values["strict-readiness"],
    maxQueueSize: values["max-queue-size"],
    responseCache:
      values["response-cache-size"] > 0
        ? { bytes: values["response-cache-size"], models: values["response-cache-models"] }
        : undefined,
    sharedMemory: values["allow-shared-memory"]
      ? { regions: values["max-shared-memory-regions"], bytes: values["max-shared-memory"] }
      : undefined,
    maxMessageBytes: values["max-message-size"],
    modelThreads: values["model-threads"],
    cores: Math.max(1, Math.floor(usableCores() / (values.workers || usableCores()))),
    onnx: onnxOptions(values),
    serverName: "tensorwire",
    serverVersion: packageVersion(),
    registry,
    log,
    traces,
  });
  const gate = createDrainGate();
  role.begin({ predictor, registry, gate, log, traces });

  const health = new HealthRegistry();
  const updateHealth = (): void => {
    if (health.closed) return;
    health.set("", isReady());
    health.set(GRPCInferenceService.typeName, isReady());
  };
  const lifecycle = createLifecycle({
    drainDelayMs: values["drain-delay"],
    drainTimeoutMs: values["drain-timeout"],
    fatalDrainTimeoutMs,
    onState: ({ kind }) => {
      if (kind === "ready") updateHealth();
      else if (kind === "leaving") health.close();
    },
    after: (ms, action) => {
      const timer = setTimeout(action, ms);
      return () => clearTimeout(timer);
    },
    log,
  });
  const isReady = (): boolean => lifecycle.state.kind === "ready" && predictor.isReady();
  predictor.onReadiness((model, serving) => {
    if (health.closed) return;
    health.set(model, serving);
    updateHealth();
  });
  updateHealth();

  const access = await openServeAccess(values, registry, log);
  const handlers = await createServeHandler(values, {
    predictor,
    access: access?.control,
    health,
    gate,
    registry,
    probes: { isStarted: () => lifecycle.state.kind !== "starting", isReady },
    role,
    log,
  });
  // Listening comes first, so that liveness and start-up probes are answered while models load.
  const wires = await role.listen(values, handlers);
  registerWireMetrics(registry, wires);
  registerMemoryMetrics(registry, handlers.memory);

  // Whoever has an open connection goes elsewhere before calls are refused; one that does not read is not
  // waited for.
  lifecycle.onDrain({
    name: "callers told to go",
    async run() {
      const told = wires.map((wire) => wire.shed(Number.POSITIVE_INFINITY));
      await Promise.race([Promise.all(told), delay(farewellMs, undefined, { ref: false })]);
    },
  });
  lifecycle.onDrain({
    name: "calls in flight",
    async run() {
      gate.close();
      await gate.idle();
    },
  });
  lifecycle.onDrain({
    name: "connections",
    async run() {
      role.leaving();
      await Promise.all(wires.map((wire) => wire.drain()));
    },
  });
  lifecycle.onDrain({ name: "models", run: () => predictor.close() });
  lifecycle.onDrain({ name: "traces", run: () => traces.close() });
  const disconnect = connectProcess(lifecycle, role.events, () => performance.now());

  const started = loadModels(predictor, values, log).then(async (exitCode) => {
    if (exitCode !== undefined) return exitCode;
    await role.loaded();
    if (lifecycle.state.kind !== "starting") return lifecycle.stopped;
    lifecycle.ready();
    role.ready();
    return lifecycle.stopped;
  });
  try {
    return await Promise.race([started, lifecycle.stopped]);
  } finally {
    disconnect();
    access?.close();
    await Promise.all(wires.map((wire) => wire.destroy()));
  }
}

/** Loads the models; gives the exit code if the program cannot go on. */
async function loadModels(
  predictor: Predictor,
  values: ServeValues,
  log: Log,
): Promise<ExitCode | undefined> {
  try {
    await predictor.start();
  } catch (error) {
    log.error({ why: messageOf(error) }, "the models could not be loaded");
    return exitCodes.models;
  }
  const failed = predictor.index().some(({ state }) => state.kind === "failed");
  if (!failed || !values["exit-on-error"]) return undefined;
  log.error({}, "a model failed to load, and --exit-on-error is set");
  return exitCodes.models;
}
