import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, rmSync } from "node:fs";
import { text } from "node:stream/consumers";
import { quantile } from "../statistics.ts";
import type { Load, LoadResult } from "./caller.ts";

/** What h2load is to do. */
export interface H2Load extends Load {
  /** `/package.Service/Method` */
  readonly path: string;
  /** File with the body of each request. */
  readonly bodyFile: string;
  /** File for the time of each request; written anew and removed. */
  readonly timesFile: string;
}

/** Time beyond the measurement that h2load may take to connect and to end. */
const graceMs = 20_000;

/**
 * Sends calls over cleartext HTTP/2 for some seconds.
 * @throws Error if a call failed, none ended, or h2load does not end
 */
export async function runH2load(load: H2Load): Promise<LoadResult> {
  const { port, path, bodyFile, inFlight, seconds, callsPerSecond, core, timesFile, signal } = load;
  rmSync(timesFile, { force: true });
  const limitMs = seconds * 1000 + graceMs;
  const timeLimit = AbortSignal.timeout(limitMs);
  const child = spawn(
    "taskset",
    [
      ...["-c", `${core}`, "h2load", "--clients=1", "--threads=1"],
      ...[`--max-concurrent-streams=${inFlight}`, `--duration=${seconds}`],
      ...(callsPerSecond === undefined ? [] : [`--rps=${callsPerSecond}`]),
      ...[`--data=${bodyFile}`, `--log-file=${timesFile}`],
      ...["--header=content-type: application/grpc", "--header=te: trailers"],
      `http://127.0.0.1:${port}${path}`,
    ],
    {
      stdio: ["ignore", "pipe", "pipe"],
      signal: AbortSignal.any([signal, timeLimit]),
    },
  );
  try {
    const [output, problems] = await Promise.all([
      text(child.stdout),
      text(child.stderr),
      once(child, "close"),
    ]);
    return { ...readOutput(`${output}${problems}`), ...readTimes(readFileSync(timesFile)) };
  } catch (error) {
    if (!timeLimit.aborted) throw error;
    throw new Error(`h2load did not end within ${limitMs / 1000} s`, { cause: error });
  } finally {
    rmSync(timesFile, { force: true });
  }
}

/**
 * Reads the summary of h2load 1.x.
 * @throws Error if calls failed or the summary is not as known
 */
export function readOutput(
  output: string,
): Pick<LoadResult, "calls" | "callsPerSecond" | "bodyBytes"> {
  const rate = /^finished in .*, ([\d.]+) req\/s/m.exec(output);
  const requests =
    /^requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout$/m.exec(
      output,
    );
  const status = /^status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx$/m.exec(output);
  const traffic = /^traffic: .*\((\d+)\) data$/m.exec(output);
  if (rate === null || requests === null || status === null || traffic === null) {
    throw new Error(`h2load gave no summary:\n${output.trimEnd()}`);
  }
  const [done, succeeded, ...bad] = requests.slice(1).map(Number);
  const [, ...otherStatus] = status.slice(1).map(Number);
  if (done !== succeeded || [...bad, ...otherStatus].some((count) => count !== 0)) {
    throw new Error(`calls failed: ${requests[0]}; ${status[0]}`);
  }
  if (done === 0) throw new Error("no call ended within the time; give more --seconds");
  return {
    calls: done!,
    callsPerSecond: Number(rate[1]),
    bodyBytes: Number(traffic[1]),
  };
}

/**
 * Reads h2load's log of requests: start, HTTP status and microseconds, separated by tabs.
 * @throws Error if a request has no time
 */
export function readTimes(log: Buffer): Pick<LoadResult, "meanMicros" | "p50Micros" | "p99Micros"> {
  const times = Float64Array.from(log.toString("latin1").trimEnd().split("\n"), (line) =>
    Number.parseInt(line.slice(line.lastIndexOf("\t") + 1), 10),
  ).sort();
  const meanMicros = times.reduce((sum, time) => sum + time, 0) / times.length;
  if (Number.isNaN(meanMicros)) throw new Error("h2load's log has a line without a time");
  return { meanMicros, p50Micros: quantile(times, 0.5), p99Micros: quantile(times, 0.99) };
}
