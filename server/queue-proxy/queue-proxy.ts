import type { Registry } from "prom-client";
import type { KnativeEnvironment } from "../config/knative-environment.ts";
import { messageOf } from "../errors/from-unknown.ts";
import type { Log } from "../observability/log.ts";
import type { StreamHandler } from "../wire/caller-stream.ts";
import type { WireTarget } from "../wire/client/channel-options.ts";
import { Http1Channel } from "../wire/client/http1-channel.ts";
import { WireChannel } from "../wire/client/wire-channel.ts";
import type { WheelClock } from "../wire/timer-wheel.ts";
import { BusyPoll } from "./busy-poll.ts";
import { CallList } from "./call-list.ts";
import { noRules } from "./call-rules.ts";
import type { CallTracer } from "./call-tracer.ts";
import { Drainer } from "./drainer.ts";
import { HttpMetrics } from "./http-metrics.ts";
import type { CallTimes, ListedCall, ProxyHost } from "./proxy-host.ts";
import { AdmissionQueue } from "./queue/admission-queue.ts";
import { plainClass, type QueuePolicy } from "./queue/queue-policy.ts";
import { QueueMetrics, registerQueueGauges } from "./queue-metrics.ts";
import { readProbes } from "./readiness/read-probe.ts";
import { createReadiness } from "./readiness/readiness.ts";
import { createRequestHandler } from "./request-handler.ts";
import { RequestLog } from "./request-log/request-log.ts";
import { RequestStatistics } from "./request-statistics.ts";
import { applyRules } from "./rules/apply-rules.ts";
import type { RuleSet } from "./rules/read-rules.ts";
import { reportPeriodMs, StatReporter } from "./stat-reporter.ts";

/** What a proxy is made of. */
export interface QueueProxyOptions {
  readonly environment: KnativeEnvironment;
  /** Where calls go. */
  readonly target: WireTarget;
  readonly times: CallTimes;
  /** Limits of the queue; rules may say others. */
  readonly policy: QueuePolicy;
  /** Time after a call for which the process does not sleep, in ms; 0 is none. */
  readonly busyPollMs: number;
  readonly quietPeriodMs: number;
  readonly maxUserConnections: number;
  readonly maxHeaderBytes: number;
  readonly registry: Registry;
  readonly log: Log;
  /** Makes spans of calls. */
  readonly tracer: CallTracer | undefined;
  /** Takes lines of the request log. */
  readonly writeLine: (text: string) => void;
  readonly clock: WheelClock;
}

/** The proxy before a pod's server. */
export interface QueueProxy {
  /** Takes what comes to the main ports. */
  readonly handler: StreamHandler;
  /** Calls that are under way or wait, the oldest first. */
  readonly calls: Iterable<ListedCall> & { readonly size: number };
  /** Takes the limits and classes of a rule set, also while calls are under way. */
  takeRules(rules: RuleSet): void;
  readonly drainer: Drainer;
  readonly queue: AdmissionQueue;
  /** The pod was told to end. */
  readonly signalled: boolean;
  onSignal(): void;
  /** Statistics of the last second for the autoscaler, a `metrics.Stat`. */
  statistics(): Uint8Array;
  /** Resolves when no call is under way. */
  idle(): Promise<void>;
  /** Closes the connections to the server. */
  close(): void;
}

/** Connections that are refused are tried again soon: the server is on the same machine. */
const backoff = { initialMs: 20, multiplier: 1.5, maxMs: 250, jitter: 0.2 };

/**
 * Makes the proxy; whoever asked for it listens.
 *
 * @throws TensorwireError `SETTING_INVALID` for a probe that cannot be used
 */
export function createQueueProxy(options: QueueProxyOptions): QueueProxy {
  const { environment, target, registry, log, clock } = options;
  const metrics = new QueueMetrics(registry);
  const queue = new AdmissionQueue(options.policy, [plainClass], {
    onAdmit(callClass, waitedMs) {
      metrics.ofClass(callClass.policy.name).wait.observe(waitedMs / 1000);
    },
    onShed(callClass, reason) {
      metrics.ofClass(callClass.policy.name).shed[reason].inc();
    },
  });
  registerQueueGauges(registry, queue);
  const statistics = new RequestStatistics(performance.now());
  const reporter = new StatReporter(environment.pod, statistics, performance.now());
  const ticker = setInterval(() => reporter.tick(performance.now()), reportPeriodMs);
  ticker.unref();
  const drainer = new Drainer(options.quietPeriodMs, clock);
  const onError = (error: Error): void => log.debug({ why: error.message }, "the user's server");
  const http2 = new WireChannel({
    target,
    maxConnections: 16,
    maxWaitingCalls: 65_536,
    backoff,
    limits: { maxHeaderListBytes: options.maxHeaderBytes },
    onError,
  });
  const http1 = new Http1Channel({
    target,
    maxConnections: options.maxUserConnections,
    maxWaitingCalls: 65_536,
    maxHeaderBytes: options.maxHeaderBytes,
  });
  let whenIdle: PromiseWithResolvers<void> | undefined;
  const host: ProxyHost = {
    times: options.times,
    rules: noRules,
    queue,
    statistics,
    metrics,
    httpMetrics: openHttpMetrics(options),
    tracer: options.tracer,
    drainer,
    busyPoll: options.busyPollMs > 0 ? new BusyPoll(options.busyPollMs) : undefined,
    http1,
    http2,
    requestLog: openRequestLog(options),
    calls: new CallList<ListedCall>(),
    openCalls: 0,
    onIdle: () => {
      whenIdle?.resolve();
      whenIdle = undefined;
    },
  };
  let signalled = false;
  const probes = readProbes(environment.readinessProbe, environment.userPort);
  const readiness = createReadiness(probes, log, clock);
  return {
    handler: createRequestHandler(host, readiness),
    calls: host.calls,
    takeRules(rules) {
      queue.configure(rules.policy, rules.classes);
      host.rules = applyRules(rules);
    },
    drainer,
    queue,
    get signalled() {
      return signalled;
    },
    onSignal() {
      signalled = true;
    },
    statistics: () => reporter.message,
    idle() {
      if (host.openCalls === 0) return Promise.resolve();
      whenIdle ??= Promise.withResolvers();
      return whenIdle.promise;
    },
    close() {
      clearInterval(ticker);
      http2.destroy();
      http1.destroy();
    },
  };
}

function openHttpMetrics(options: QueueProxyOptions): HttpMetrics | undefined {
  const { environment, target, registry } = options;
  if (environment.observability.requestMetrics.protocol === "none") return undefined;
  return new HttpMetrics(
    registry,
    "unix" in target ? { address: target.unix } : { address: target.host, port: target.port },
  );
}

function openRequestLog(options: QueueProxyOptions): RequestLog | undefined {
  const { environment, log, writeLine } = options;
  const { enableRequestLog, requestLogTemplate } = environment.observability;
  if (!enableRequestLog || requestLogTemplate === "") return undefined;
  const revision = {
    name: environment.revision,
    namespace: environment.namespace,
    service: environment.service,
    configuration: environment.configuration,
    podName: environment.pod,
    podIp: environment.podIp,
  };
  try {
    return new RequestLog(requestLogTemplate, revision, writeLine);
  } catch (error) {
    // A pod serves without its log rather than not at all.
    log.error({ why: messageOf(error) }, "the template of the request log cannot be used");
    return undefined;
  }
}
