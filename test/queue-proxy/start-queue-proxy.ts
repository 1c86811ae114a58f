import type { ExecutionContext } from "ava";
import { type RunningCommand, startCommand } from "../support/command.ts";
import { until } from "../support/until.ts";

/** Environment of a queue-proxy, as far as a test says something else than Knative mostly does. */
export type ProxyEnvironment = Readonly<Record<string, string>>;

/** A queue-proxy that runs. */
export interface RunningProxy {
  /** Ports of calls, of /wait-for-drain, of statistics and of Prometheus' metrics. */
  readonly port: number;
  readonly adminPort: number;
  readonly statisticsPort: number;
  readonly metricsPort: number;
  readonly stdout: () => string;
  readonly stderr: () => string;
  signal(name: NodeJS.Signals): void;
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>;
}

/** What Knative gives a queue-proxy. */
export function knativeEnvironment(userPort: number, more: ProxyEnvironment): ProxyEnvironment {
  return {
    CONTAINER_CONCURRENCY: "0",
    QUEUE_SERVING_PORT: "0",
    QUEUE_SERVING_TLS_PORT: "0",
    USER_PORT: `${userPort}`,
    REVISION_TIMEOUT_SECONDS: "300",
    SERVING_LOGGING_CONFIG: "",
    SERVING_LOGGING_LEVEL: "info",
    SERVING_NAMESPACE: "default",
    SERVING_CONFIGURATION: "iris",
    SERVING_REVISION: "iris-00001",
    SERVING_POD: "iris-00001-deployment-5f6c",
    SERVING_POD_IP: "127.0.0.1",
    SERVING_READINESS_PROBE: JSON.stringify({
      tcpSocket: { port: userPort, host: "127.0.0.1" },
      successThreshold: 1,
    }),
    ...more,
  };
}

/** Starts `tensorwire queue-proxy` on free ports; it is killed when the test ends. */
export async function startQueueProxy(
  t: Pick<ExecutionContext, "teardown">,
  userPort: number,
  env: ProxyEnvironment = {},
  flags: readonly string[] = [],
): Promise<RunningProxy> {
  const command: RunningCommand = startCommand(
    t,
    [
      "queue-proxy",
      ...["--admin-port", "0", "--statistics-port", "0", "--metrics-port", "0", "--metrics"],
      ...["--listen-host", "127.0.0.1"],
      ...flags,
    ],
    knativeEnvironment(userPort, env),
  );
  let ports: Record<string, number> | undefined;
  let exitCode: number | null | undefined;
  void command.ended.then((code) => {
    exitCode = code;
  });
  await until(
    () => {
      if (exitCode !== undefined) {
        throw new Error(`the proxy ended with ${exitCode}: ${command.stderr()}`);
      }
      const line = command
        .stderr()
        .split("\n")
        .find((one) => one.includes('"msg":"ready"'));
      if (line) ports = (JSON.parse(line) as { ports: Record<string, number> }).ports;
      return ports !== undefined;
    },
    () => `the proxy is ready; it said ${command.stderr()}`,
  );
  return {
    port: ports!.main!,
    adminPort: ports!.admin!,
    statisticsPort: ports!.statistics!,
    metricsPort: ports!.metrics!,
    stdout: command.stdout,
    stderr: command.stderr,
    signal: (name) => void command.process.kill(name),
    ended: command.ended,
  };
}
