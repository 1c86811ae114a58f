import { fromBinary } from "@bufbuild/protobuf";
import { Registry } from "prom-client";
import { LogSettingsRequestSchema } from "../../gen/inference/grpc_service_pb.ts";
import { SummedMetrics } from "../cluster/summed-metrics.ts";
import { Supervisor } from "../cluster/supervisor.ts";
import { usableCores } from "../cluster/worker-count.ts";
import { forkWorker } from "../cluster/worker-process.ts";
import { createLifecycle } from "../lifecycle/lifecycle.ts";
import { connectProcess } from "../lifecycle/process-events.ts";
import { createLogger } from "../observability/logger.ts";
import { readLogChanges } from "../rpc/log-setting-messages.ts";
import { acceptSockets, type SocketSource } from "../wire/accept-sockets.ts";
import type { Program } from "./program.ts";
import type { ReplicaBounds } from "./replica-bounds.ts";
import { createReplicaScaler } from "./replica-scaler.ts";
import type { ServerSettings } from "./serve.ts";
import { urlsOf } from "./serve-listen.ts";
import type { ServeValues } from "./serve-values.ts";
import { answerWorkers } from "./supervisor-answers.ts";
import { registerSupervisorMetrics } from "./supervisor-metrics.ts";
import { type ScreenRequest, workerQuestions, workerTasks } from "./worker-questions.ts";

/** Time beyond the drain of the workers until they are ended by force, in ms. */
const graceMs = 5_000;
/** Time for the drain after an error of the supervisor that nothing handled, in ms. */
const fatalDrainTimeoutMs = 10_000;

/** Compiled or not, as this file is. */
const workerFile = new URL(`./worker-main${import.meta.url.slice(-3)}`, import.meta.url);

const clock = {
  now: () => performance.now(),
  every(ms: number, action: () => void): () => void {
    const timer = setInterval(action, ms);
    return () => clearInterval(timer);
  },
};

/** What a supervisor is to run. */
export interface SuperviseOptions extends ServerSettings {
  /** Two or more, where `replicas` does not say otherwise. */
  readonly workers: number;
  readonly replicas: ReplicaBounds | undefined;
  readonly program: Program;
  /** When the program began, on the monotonic clock in ms. */
  readonly begun: number;
}

/**
 * Serves by several worker processes until a signal comes or the start fails.
 *
 * @returns the exit code
 * @throws TensorwireError `LISTEN_FAILED`
 */
export async function superviseServe(options: SuperviseOptions): Promise<number> {
  const { values, repositories, replicas, program, begun } = options;
  const log = createLogger(values["log-level"], values["log-format"]);
  const after = (ms: number, action: () => void): (() => void) => {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  };
  const registry = new Registry();
  const scaler = replicas && createReplicaScaler(values, replicas, registry, log, clock);
  const workers = scaler?.initial ?? options.workers;
  const sums = new SummedMetrics();
  const supervisor = new Supervisor<ServerSettings>({
    count: workers,
    most: replicas?.most ?? workers,
    settings: { repositories, values: shareOfMachine(values, replicas?.most ?? workers) },
    fork: (number, events) => forkWorker(workerFile, number, events),
    after,
    now: () => performance.now(),
    random: Math.random,
    answer: answerWorkers(sums, registry),
    onReady: () => void announce(),
    onWaiting: () => scaler?.onWaiting(supervisor),
    onWorkerEnd(number) {
      sums.forget(number);
      scaler?.forget(number);
    },
    // The log of this process is set with theirs.
    onTask({ name, payload }) {
      if (name !== workerTasks.log) return;
      log.change(readLogChanges(fromBinary(LogSettingsRequestSchema, payload)));
    },
    onFailure: (text) => program.stderr.write(text),
    log,
  });
  registerSupervisorMetrics(registry, () => supervisor.stats);
  const source = await acceptSockets({
    ...addressesOf(values),
    onSocket: (socket, listener) => supervisor.give(socket, listener),
    onError: (error) => log.error({ err: error }, "a listening socket failed"),
  });
  const lifecycle = createLifecycle({
    // The delay is the workers'.
    drainDelayMs: 0,
    drainTimeoutMs: values["drain-delay"] + values["drain-timeout"] + graceMs,
    fatalDrainTimeoutMs,
    onState: (state) => {
      if (state.kind === "leaving") {
        supervisor.stop(state.cause === "SIGINT" ? "SIGINT" : "SIGTERM");
      }
    },
    after,
    log,
  });
  lifecycle.onDrain({ name: "workers", run: async () => void (await supervisor.ended) });
  const disconnect = connectProcess(lifecycle, program.events, () => performance.now());

  async function announce(): Promise<void> {
    lifecycle.ready();
    const startMs = Math.round(performance.now() - begun);
    const urls = urlsOf(values, source.tcpAddresses);
    log.info({ address: urls[0], workers, startMs }, "ready");
    scaler?.follow(supervisor);
    if (!values.banner) return;
    const request: ScreenRequest = { urls, startMs, color: program.stdout.color };
    const payload = Buffer.from(JSON.stringify(request));
    const screen = await supervisor.ask(1, { name: workerQuestions.screen, payload });
    if (typeof screen === "string") program.stdout.write(screen);
  }

  supervisor.start();
  try {
    const exitCode = await Promise.race([supervisor.ended, lifecycle.stopped]);
    // After a signal the workers say how the end went, unless it was cut short.
    return exitCode === 0 ? await lifecycle.stopped : exitCode;
  } finally {
    disconnect();
    scaler?.close();
    endAll(supervisor, source);
  }
}

function endAll(supervisor: Supervisor<ServerSettings>, source: SocketSource): void {
  source.close();
  supervisor.kill();
}

/** Of the cores, where the settings do not say otherwise, and of the models' memory each worker gets its share. */
function shareOfMachine(values: ServeValues, workers: number): ServeValues {
  const share = Math.max(1, Math.floor(usableCores() / workers));
  const memory = values["model-memory-limit"];
  return {
    ...values,
    "model-threads": values["model-threads"] || share,
    "model-memory-limit": memory === undefined ? undefined : Math.ceil(memory / workers),
    "intra-op-threads": values["intra-op-threads"] || share,
  };
}

function addressesOf(values: ServeValues): {
  readonly tcp: readonly { readonly host: string; readonly port: number }[];
  readonly unix: string | undefined;
} {
  const { host, port, "grpc-port": grpcPort, unix } = values;
  const tcp = [{ host, port }];
  if (grpcPort !== 0 && grpcPort !== port) tcp.push({ host, port: grpcPort });
  return { tcp, unix };
}
