import { execFileSync } from "node:child_process";
import { chmodSync, closeSync, existsSync, openSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

/** Where a proxy listens, and the server behind it. */
export interface ProxyPlace {
  readonly port: number;
  readonly userPort: number;
  /** Further free ports, for those that can be told where to listen. */
  readonly spare: readonly [number, number, number];
  /** Calls at once; 0 is without a limit. */
  readonly concurrency: number;
  /** Folder for what a proxy needs. */
  readonly folder: string;
}

/** How a proxy is started. */
export interface ProxyLaunch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string>>;
}

/** A proxy to measure. */
export interface MeasuredProxy {
  readonly name: string;
  /** Whether it limits how many calls are under way. */
  readonly limits: boolean;
  /** Why it cannot be started here, or `undefined`. */
  missing(): string | undefined;
  launch(place: ProxyPlace): ProxyLaunch;
}

const bin = fileURLToPath(new URL("../../bin/tensorwire.js", import.meta.url));
const peersFolder =
  process.env.TENSORWIRE_PEERS ?? fileURLToPath(new URL("../../../shared/peers", import.meta.url));
const packed = join(peersFolder, "knative-queue-proxy.xz");

/** What Knative gives its queue-proxy. */
function knativeEnvironment(place: ProxyPlace): Record<string, string> {
  return {
    CONTAINER_CONCURRENCY: `${place.concurrency}`,
    QUEUE_SERVING_PORT: `${place.port}`,
    QUEUE_SERVING_TLS_PORT: `${place.spare[0]}`,
    USER_PORT: `${place.userPort}`,
    REVISION_TIMEOUT_SECONDS: "300",
    SERVING_LOGGING_CONFIG: "",
    SERVING_LOGGING_LEVEL: "warn",
    SERVING_NAMESPACE: "default",
    SERVING_CONFIGURATION: "bench",
    SERVING_REVISION: "bench-00001",
    SERVING_POD: "bench",
    SERVING_POD_IP: "127.0.0.1",
  };
}

function ours(name: string, flags: readonly string[]): MeasuredProxy {
  return {
    name,
    limits: true,
    missing: () => undefined,
    launch: (place) => ({
      command: process.execPath,
      args: [
        ...[bin, "queue-proxy", "--quiet-period", "1ms", ...flags],
        ...["--admin-port", `${place.spare[1]}`, "--statistics-port", `${place.spare[2]}`],
      ],
      env: knativeEnvironment(place),
    }),
  };
}

/** By name on the command line. */
export const measuredProxies: readonly MeasuredProxy[] = [
  ours("ours", []),
  ours("ours-polling", ["--busy-poll", "1ms"]),
  {
    name: "knative",
    limits: true,
    missing: () =>
      existsSync(packed) ? undefined : `needs ${packed}; TENSORWIRE_PEERS names its folder`,
    launch(place) {
      const path = join(place.folder, "knative-queue-proxy");
      if (!existsSync(path)) {
        const file = openSync(path, "w");
        execFileSync("xz", ["-dc", packed], { stdio: ["ignore", file, "inherit"] });
        closeSync(file);
        chmodSync(path, 0o755);
      }
      // One core is what it has; told so, its scheduler does better.
      return { command: path, args: [], env: { ...knativeEnvironment(place), GOMAXPROCS: "1" } };
    },
  },
  {
    name: "nghttpx",
    limits: false,
    missing: () => (onPath("nghttpx") ? undefined : "needs Debian's nghttp2-proxy"),
    launch: (place) => ({
      command: "nghttpx",
      args: [
        `--frontend=127.0.0.1,${place.port};no-tls`,
        `--backend=127.0.0.1,${place.userPort};;proto=h2`,
        ...["--workers=1", "--no-ocsp", "--errorlog-file=/dev/null", "--conf=/dev/null"],
      ],
      env: {},
    }),
  },
];

/** Whether a program is installed. */
export function onPath(name: string): boolean {
  try {
    execFileSync("which", [name], { stdio: "ignore" });
    return true;
  } catch {
    // `which` says no by its exit code.
    return false;
  }
}
