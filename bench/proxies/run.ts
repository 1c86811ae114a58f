import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { parseArgs } from "node:util";
import { freePorts } from "../free-ports.ts";
import { type MeasuredProxy, measuredProxies, onPath } from "./measured-proxies.ts";

// What a proxy costs: h2load through each one to the same nghttpd. The proxy has a core to itself; the
// server and h2load share another one, so that both figures, with the proxy and without, are of the same
// two cores.
//
//     node bench/proxies/run.ts [--seconds 3] [--repeats 5] [--proxies ours,knative,nghttpx]
//                               [--cases h2-1,h2-64] [--proxy-core 0] [--load-core 1] [--json FILE]

const { values } = parseArgs({
  options: {
    seconds: { type: "string", default: "3" },
    repeats: { type: "string", default: "5" },
    proxies: { type: "string", default: measuredProxies.map(({ name }) => name).join() },
    cases: { type: "string" },
    "proxy-core": { type: "string", default: "0" },
    "load-core": { type: "string", default: "1" },
    json: { type: "string" },
  },
});

/** A load, and what the proxy is told. */
interface ProxyCase {
  readonly name: string;
  readonly title: string;
  readonly inFlight: number;
  readonly concurrency: number;
  /** Bytes of each request, which come back; 0 is a GET of six bytes. */
  readonly bytes: number;
}

const cases: readonly ProxyCase[] = [
  { name: "h2-1", title: "GET, 1 in flight", inFlight: 1, concurrency: 0, bytes: 0 },
  { name: "h2-64", title: "GET, 64 in flight", inFlight: 64, concurrency: 0, bytes: 0 },
  {
    name: "h2-1-cc10",
    title: "GET, 1 in flight, limit 10",
    inFlight: 1,
    concurrency: 10,
    bytes: 0,
  },
  {
    name: "h2-64-cc10",
    title: "GET, 64 in flight, limit 10",
    inFlight: 64,
    concurrency: 10,
    bytes: 0,
  },
  {
    name: "h2-600kb",
    title: "POST 600 KB, 4 in flight",
    inFlight: 4,
    concurrency: 0,
    bytes: 600_000,
  },
];

interface Figures {
  readonly callsPerSecond: number;
  /** Mean time of a call, in microseconds. */
  readonly meanMicros: number;
  /** Resident memory of the proxy afterwards, in MiB; of the server alone 0. */
  readonly memoryMiB: number;
}

const seconds = Number(values.seconds);
const repeats = Number(values.repeats);
for (const tool of ["h2load", "nghttpd", "taskset"]) {
  if (!onPath(tool))
    throw new Error(`${tool} is missing: scripts/install-interop-tools.sh --bench`);
}
const folder = mkdtempSync(join(tmpdir(), "tensorwire-proxies-"));
const root = join(folder, "www");
mkdirSync(root);
writeFileSync(join(root, "index.html"), "hello\n");
const running = new Set<ChildProcess>();
process.once("exit", () => {
  for (const child of running) child.kill("SIGKILL");
  rmSync(folder, { recursive: true, force: true });
});

const wanted = values.proxies.split(",");
const proxies = measuredProxies.filter(({ name }) => wanted.includes(name));
const chosen = cases.filter(({ name }) => values.cases?.split(",").includes(name) ?? true);
const results: { readonly case: string; readonly proxy: string; readonly figures: Figures[] }[] =
  [];
for (const one of chosen) {
  const rows = new Map<string, Figures[]>([["direct", []]]);
  const able = proxies.filter((proxy) => proxy.limits || one.concurrency === 0);
  for (const proxy of able) {
    const why = proxy.missing();
    if (why === undefined) rows.set(proxy.name, []);
    else console.log(`${proxy.name} is left out: ${why}`);
  }
  // They take turns, so that a slow minute of the machine hits all of them.
  for (let repeat = 0; repeat < repeats; repeat++) {
    for (const [name, figures] of rows) {
      figures.push(
        await measure(
          one,
          able.find((proxy) => proxy.name === name),
        ),
      );
    }
  }
  for (const [proxy, figures] of rows) results.push({ case: one.name, proxy, figures });
  print(one, rows);
}
if (values.json) writeFileSync(values.json, `${JSON.stringify(results, undefined, 2)}\n`);
process.exit(0);

function print(one: ProxyCase, rows: ReadonlyMap<string, readonly Figures[]>): void {
  console.log(`\n${one.title}`);
  const direct = median(rows.get("direct")!.map(({ meanMicros }) => meanMicros));
  for (const [name, figures] of rows) {
    const rate = median(figures.map(({ callsPerSecond }) => callsPerSecond));
    const micros = median(figures.map(({ meanMicros }) => meanMicros));
    const memory = median(figures.map(({ memoryMiB }) => memoryMiB));
    const added = name === "direct" ? "" : `, ${(micros - direct).toFixed(0)} us added`;
    const size = name === "direct" ? "" : `, ${memory.toFixed(0)} MiB`;
    console.log(
      `  ${name.padEnd(10)} ${rate.toFixed(0).padStart(8)}/s, ${micros.toFixed(0)} us a call${added}${size}`,
    );
  }
}

async function measure(one: ProxyCase, proxy: MeasuredProxy | undefined): Promise<Figures> {
  const [userPort, port, ...spare] = (await freePorts(5)) as [
    number,
    number,
    number,
    number,
    number,
  ];
  const server = start(values["load-core"], "nghttpd", [
    ...["--no-tls", "--htdocs", root, "--address", "127.0.0.1"],
    ...(one.bytes > 0 ? ["--echo-upload", "--window-bits=24", "--connection-window-bits=24"] : []),
    `${userPort}`,
  ]);
  await listening(userPort, server);
  const launch = proxy?.launch({
    ...{ port, userPort, folder, concurrency: one.concurrency },
    spare: spare as [number, number, number],
  });
  const child = launch
    ? start(values["proxy-core"], launch.command, launch.args, launch.env)
    : undefined;
  try {
    if (child) await listening(port, child);
    const target = child ? port : userPort;
    load(one, target, Math.min(1, seconds));
    // Until a proxy has seen that the callers of the warm-up are gone, they keep their places in its queue.
    await wait(500);
    const output = load(one, target, seconds);
    return { ...readOutput(output), memoryMiB: child ? memoryOf(child) : 0 };
  } finally {
    await Promise.all([child, server].map((process) => process && end(process)));
  }
}

function load(one: ProxyCase, port: number, time: number): string {
  const body = join(folder, "body");
  if (one.bytes > 0) writeFileSync(body, Buffer.alloc(one.bytes, "x"));
  return execFileSync(
    "taskset",
    [
      ...["-c", values["load-core"], "h2load", "-c1", "-t1", `-m${one.inFlight}`, `-D${time}`],
      ...(one.bytes > 0 ? ["-d", body, "-w24", "-W24"] : []),
      `http://127.0.0.1:${port}/index.html`,
    ],
    { encoding: "utf8", timeout: time * 1000 + 30_000 },
  );
}

function readOutput(output: string): Pick<Figures, "callsPerSecond" | "meanMicros"> {
  const rate = /^finished in .*, ([\d.]+) req\/s/m.exec(output);
  const status = /^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$/m.exec(output);
  const time = /^time for request: +\S+ +\S+ +([\d.]+)(us|ms|s) /m.exec(output);
  if (!rate || !status || !time) throw new Error(`h2load gave no summary:\n${output}`);
  if (status.slice(2).some((count) => count !== "0")) throw new Error(`calls failed: ${status[0]}`);
  const unit = { us: 1, ms: 1000, s: 1e6 }[time[2] as "us" | "ms" | "s"];
  return { callsPerSecond: Number(rate[1]), meanMicros: Number(time[1]) * unit };
}

function start(
  core: string,
  command: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): ChildProcess {
  const child = spawn("taskset", ["-c", core, command, ...args], {
    env: { ...process.env, ...env },
    stdio: "ignore",
  });
  running.add(child);
  child.once("exit", () => running.delete(child));
  return child;
}

async function listening(port: number, child: ChildProcess): Promise<void> {
  const limit = performance.now() + 20_000;
  while (!(await accepts(port))) {
    if (child.exitCode !== null) throw new Error(`a program ended with ${child.exitCode}`);
    if (performance.now() > limit) throw new Error(`nothing listens on ${port} after 20 s`);
    await wait(20);
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    const settle = (answer: boolean): void => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => settle(true));
    socket.once("error", () => settle(false));
  });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

function memoryOf({ pid }: ChildProcess): number {
  const kib = execFileSync("ps", ["-o", "rss=", "-p", `${pid}`], { encoding: "utf8" });
  return Number(kib.trim()) / 1024;
}

function median(numbers: readonly number[]): number {
  const sorted = [...numbers].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
