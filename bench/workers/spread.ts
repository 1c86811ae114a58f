import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { readOutput } from "../callers/h2load.ts";
import { median } from "../statistics.ts";
import { type Way, ways } from "./ways.ts";

// Compares ways to bring connections to several processes that answer on one port: how evenly they are
// spread, and what it costs. Needs h2load. One core for each worker; h2load takes its share of them.
//
//   node bench/workers/spread.ts [--workers 2] [--seconds 1] [--repeats 5] [--connections 1,4,16,64]

const { values } = parseArgs({
  options: {
    workers: { type: "string", default: "2" },
    seconds: { type: "string", default: "1" },
    repeats: { type: "string", default: "5" },
    connections: { type: "string", default: "1,4,16,64" },
  },
});
const workerCount = Number(values.workers);
const repeats = Number(values.repeats);
const run = promisify(execFile);
const folder = mkdtempSync(join(tmpdir(), "tensorwire-spread-"));
const body = join(folder, "body");
// An empty gRPC message.
writeFileSync(body, new Uint8Array(5));

/** Calls in flight in all. */
const inFlight = 64;
/** Connections of one call each, for the cost of a connection. */
const shortConnections = 200;

async function load(port: number, args: readonly string[]): Promise<number> {
  const { stdout, stderr } = await run(
    "h2load",
    [
      ...args,
      ...[`--data=${body}`, "--header=content-type: application/grpc", "--header=te: trailers"],
      `http://127.0.0.1:${port}/bench.Service/Method`,
    ],
    { timeout: (Number(values.seconds) + 20) * 1000 },
  );
  return readOutput(`${stdout}${stderr}`).callsPerSecond;
}

/** Share that the busiest worker has; with an even spread it is 1 / workers. */
function largestShare(counts: readonly number[]): number {
  return Math.max(...counts) / counts.reduce((sum, count) => sum + count, 0);
}

async function measure(way: Way): Promise<void> {
  const workers = await way.start(workerCount);
  try {
    await load(workers.port, ["--clients=8", "--duration=1", "--max-concurrent-streams=8"]);
    await workers.count();
    for (const clients of values.connections.split(",").map(Number)) {
      const rates: number[] = [];
      const connections: number[] = [];
      const calls: number[] = [];
      for (let turn = 0; turn < repeats; turn++) {
        const streams = Math.max(1, Math.floor(inFlight / clients));
        rates.push(
          await load(workers.port, [
            ...[`--clients=${clients}`, `--duration=${values.seconds}`],
            `--max-concurrent-streams=${streams}`,
          ]),
        );
        const counts = await workers.count();
        connections.push(largestShare(counts.map((count) => count.connections)));
        calls.push(largestShare(counts.map((count) => count.calls)));
      }
      const percent = (share: number): string => `${Math.round(share * 100)} %`;
      console.log(
        `| ${way.name} | ${clients} | ${percent(median(connections))} (${percent(Math.max(...connections))}) | ${percent(median(calls))} | ${Math.round(median(rates))} |`,
      );
    }
    const rates: number[] = [];
    const connections: number[] = [];
    for (let turn = 0; turn < repeats; turn++) {
      const args = [`--clients=${shortConnections}`, `--requests=${shortConnections}`];
      rates.push(await load(workers.port, args));
      const counts = await workers.count();
      connections.push(largestShare(counts.map((count) => count.connections)));
    }
    console.log(
      `| ${way.name} | ${shortConnections}, one call each | ${Math.round(median(connections) * 100)} % (${Math.round(Math.max(...connections) * 100)} %) | | ${Math.round(median(rates))} |`,
    );
  } finally {
    workers.close();
  }
}

console.log(
  "| way | connections | busiest worker's connections, median (worst) | its calls | calls/s |",
);
console.log("|---|---|---|---|---|");
try {
  for (const way of ways) await measure(way);
} finally {
  rmSync(folder, { recursive: true });
}
