import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, closeSync, existsSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { ExecutionContext } from "ava";
import {
  knativeEnvironment,
  type ProxyEnvironment,
  type RunningProxy,
} from "../../queue-proxy/start-queue-proxy.ts";
import { until } from "../../support/until.ts";

/** Folder of binaries that are in no registry; `TENSORWIRE_PEERS` names another one. */
const peersFolder =
  process.env.TENSORWIRE_PEERS ??
  fileURLToPath(new URL("../../../../shared/peers", import.meta.url));

const packed = join(peersFolder, "knative-queue-proxy.xz");

/** Whether Knative's queue-proxy can be started here. */
export const hasOriginal = existsSync(packed) && canUnpack();

function canUnpack(): boolean {
  try {
    execFileSync("xz", ["--version"], { stdio: "ignore" });
    return process.platform === "linux" && process.arch === "x64";
  } catch {
    // There is no xz.
    return false;
  }
}

/** Ports that are fixed in the original. */
const fixed = { adminPort: 8022, statisticsPort: 9090, metricsPort: 9091 };

/** Unpacks the original until the test ends; gives its path. */
export function unpackOriginal(t: Pick<ExecutionContext, "teardown">): string {
  const folder = mkdtempSync(join(tmpdir(), "tensorwire-peer-"));
  t.teardown(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "knative-queue-proxy");
  const file = openSync(path, "w");
  execFileSync("xz", ["-dc", packed], { stdio: ["ignore", file, "inherit"] });
  closeSync(file);
  chmodSync(path, 0o755);
  return path;
}

/** Starts Knative's queue-proxy; one at a time, since most of its ports are fixed. */
export async function startOriginal(
  t: Pick<ExecutionContext, "teardown">,
  path: string,
  userPort: number,
  port: number,
  env: ProxyEnvironment,
): Promise<RunningProxy> {
  const child = spawn(path, [], {
    env: knativeEnvironment(userPort, {
      QUEUE_SERVING_PORT: `${port}`,
      QUEUE_SERVING_TLS_PORT: "0",
      ...env,
    }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (part: Buffer) => {
    stdout += part.toString();
  });
  child.stderr.on("data", (part: Buffer) => {
    stderr += part.toString();
  });
  const ended = once(child, "close").then(([code]) => code as number | null);
  t.teardown(async () => {
    child.kill("SIGKILL");
    await ended;
  });
  await until(
    async () => {
      if (child.exitCode !== null) throw new Error(`the original ended: ${stderr}${stdout}`);
      return (await listens(port)) && (await listens(fixed.adminPort));
    },
    () => `the original listens; it said ${stderr}`,
  );
  return {
    port,
    ...fixed,
    stdout: () => stdout,
    stderr: () => stderr,
    signal: (name) => void child.kill(name),
    ended,
  };
}

function listens(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
