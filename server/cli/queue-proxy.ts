import { collectDefaultMetrics, Registry } from "prom-client";
import { WatchedFile } from "../access/watched-file.ts";
import { type KnativeEnvironment, readKnativeEnvironment } from "../config/knative-environment.ts";
import { queueProxySettings } from "../config/queue-proxy-settings.ts";
import { resolveSettings } from "../config/resolve-settings.ts";
import type { SettingValues } from "../config/setting.ts";
import { allFlags } from "../config/settings-by-command.ts";
import { exitCodes } from "../lifecycle/exit-codes.ts";
import { createLifecycle, type Lifecycle } from "../lifecycle/lifecycle.ts";
import { connectProcess } from "../lifecycle/process-events.ts";
import type { Log } from "../observability/log.ts";
import type { LogLevel } from "../observability/log-settings.ts";
import { createLogger } from "../observability/logger.ts";
import { adaptiveDefaults } from "../queue-proxy/queue/adaptive-limit.ts";
import { breakerPolicy, type QueuePolicy } from "../queue-proxy/queue/queue-policy.ts";
import { createQueueProxy, type QueueProxy } from "../queue-proxy/queue-proxy.ts";
import { readRules } from "../queue-proxy/rules/read-rules.ts";
import type { WheelClock } from "../wire/timer-wheel.ts";
import type { Command } from "./command.ts";
import type { Program } from "./program.ts";
import { exportRequestMetrics, exportSpans } from "./queue-proxy-export.ts";
import { listenQueueProxy } from "./queue-proxy-listen.ts";

/** Values of the command's settings. */
export type QueueProxyValues = SettingValues<typeof queueProxySettings>;

/** `tensorwire queue-proxy`. */
export const queueProxyCommand: Command = {
  name: "queue-proxy",
  summary: "stand before a pod's server in place of Knative's queue-proxy",
  usage: "",
  description: [
    "Takes the calls of a pod, lets CONTAINER_CONCURRENCY of them at once go to the server on USER_PORT, and has the others wait. It reads the environment that Knative gives its queue-proxy, listens on the same ports, answers the same probes, and tells Knative's autoscaler the same statistics (docs/queue-proxy.md).",
  ],
  examples: [["tensorwire queue-proxy", "in a pod that Knative made"]],
  settings: queueProxySettings,
  run: queueProxy,
};

/** Time for calls in flight to end after an error that nothing handled, in ms. */
const fatalDrainTimeoutMs = 5_000;

const systemClock: WheelClock = {
  now: () => performance.now(),
  after(ms, action) {
    const timer = setTimeout(action, ms);
    return () => clearTimeout(timer);
  },
};

async function queueProxy(argv: readonly string[], program: Program): Promise<number> {
  const { env, readFile } = program;
  const { values } = resolveSettings(queueProxySettings, {
    argv,
    env,
    readFile,
    foreign: allFlags,
  });
  const environment = readKnativeEnvironment(env);
  const log = createLogger(levelOf(environment.loggingLevel), values["log-format"]);
  const policy = policyOf(values, environment);
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const spans = await exportSpans(environment, env, registry, log);
  const proxy = createQueueProxy({
    environment,
    target:
      values["user-socket"] === undefined
        ? { host: values["user-host"], port: environment.userPort }
        : { unix: values["user-socket"] },
    times: {
      totalMs: timeOf(environment.revisionTimeoutSeconds),
      responseStartMs: timeOf(environment.responseStartTimeoutSeconds),
      idleMs: timeOf(environment.idleTimeoutSeconds),
      grpcStreams: values["grpc-timeout-mode"],
    },
    policy,
    busyPollMs: values["busy-poll"],
    quietPeriodMs: values["quiet-period"],
    maxUserConnections: values["max-user-connections"],
    maxHeaderBytes: values["max-header-size"],
    registry,
    log,
    tracer: spans?.tracer,
    writeLine: (text) => program.stdout.write(text),
    clock: systemClock,
  });
  const rules =
    values.rules === undefined ? undefined : await followRules(values.rules, policy, proxy, log);
  const servers = await listenQueueProxy(values, environment, { proxy, registry, log });
  const exported = await exportRequestMetrics(environment, env, registry, log);
  const lifecycle = createLifecycle({
    drainDelayMs: 0,
    drainTimeoutMs: values["drain-timeout"],
    fatalDrainTimeoutMs,
    onState: () => {},
    after: systemClock.after,
    log,
  });
  lifecycle.onDrain({
    name: "calls in flight",
    async run() {
      await Promise.all([servers.drain(), proxy.idle()]);
    },
  });
  const quiet = quietLifecycle(lifecycle, proxy, log);
  const disconnect = connectProcess(quiet.lifecycle, program.events, () => performance.now());
  lifecycle.ready();
  log.info({ ports: servers.ports, userPort: environment.userPort }, "ready");
  try {
    const stopped = lifecycle.stopped.then(async (exitCode) => {
      await Promise.all([exported?.stop(), spans?.stop()]);
      return exitCode;
    });
    return await Promise.race([stopped, quiet.endedAtOnce]);
  } finally {
    disconnect();
    rules?.close();
    await servers.destroy();
    proxy.close();
  }
}

/** Has the first signal wait until no calls come any more; a second one ends at once. */
function quietLifecycle(
  inner: Lifecycle,
  proxy: QueueProxy,
  log: Log,
): { readonly lifecycle: Lifecycle; readonly endedAtOnce: Promise<number> } {
  const ended = Promise.withResolvers<number>();
  let signalled = false;
  const lifecycle: Lifecycle = {
    get state() {
      return inner.state;
    },
    stopped: inner.stopped,
    onDrain: (step) => inner.onDrain(step),
    ready: () => inner.ready(),
    onFatal: (error) => inner.onFatal(error),
    onSignal(signal, exitCode) {
      if (signalled) {
        log.warn({ signal }, "stopping at once: a second signal");
        ended.resolve(exitCodes.failed);
        return;
      }
      signalled = true;
      proxy.onSignal();
      log.info({ signal }, "stopping when no calls come any more");
      void proxy.drainer.drain().then(() => inner.onSignal(signal, exitCode));
    },
  };
  return { lifecycle, endedAtOnce: ended.promise };
}

/** Time between two looks at the file of rules, in ms. */
const rulesIntervalMs = 2_000;

/** Takes the rules, now and when they change. */
function followRules(
  path: string,
  base: QueuePolicy,
  proxy: QueueProxy,
  log: Log,
): Promise<WatchedFile> {
  return WatchedFile.open({
    path,
    intervalMs: rulesIntervalMs,
    take: (text) => proxy.takeRules(readRules(text, path, base)),
    onReload: (outcome) => log.info({ path, outcome }, "the file of rules has changed"),
    log,
  });
}

function policyOf(values: QueueProxyValues, { containerConcurrency }: KnativeEnvironment) {
  const adaptive = values["adaptive-concurrency"] ? adaptiveDefaults : undefined;
  const policy = { ...breakerPolicy(containerConcurrency), adaptive };
  const depth = values["queue-depth"];
  return depth === 0 ? policy : { ...policy, maxWaiting: depth };
}

function timeOf(seconds: number): number {
  return seconds === 0 ? Number.POSITIVE_INFINITY : seconds * 1000;
}

/** Names of zap's levels; what it does not know is `info`, as with the original. */
function levelOf(text: string): LogLevel {
  switch (text.toLowerCase()) {
    case "debug":
      return "debug";
    case "warn":
      return "warn";
    case "error":
    case "dpanic":
    case "panic":
    case "fatal":
      return "error";
    default:
      return "info";
  }
}
