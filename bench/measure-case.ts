import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { BenchCall, BenchCase } from "./cases/bench-case.ts";
import { freePorts } from "./free-ports.ts";
import { callUnary } from "./grpc-call.ts";
import { type LoadResult, runH2load } from "./h2load.ts";
import type { Options } from "./options.ts";
import type { Peer } from "./peers/peer.ts";
import { usageOf } from "./process-tree.ts";
import { type ServerProcess, startServer } from "./server-process.ts";
import { requireModel, serverVersion } from "./server-questions.ts";

/** One measurement. */
export interface Measurement extends LoadResult {
  /** Processor time of the server for one call, in microseconds. */
  readonly cpuMicrosPerCall: number;
}

/** Measurements of one peer with some calls in flight, in the order in which they ran. */
export interface Series {
  readonly peer: string;
  readonly inFlight: number;
  readonly measurements: readonly Measurement[];
  /** Resident memory of the server after them, in bytes. */
  readonly rssBytes: number;
}

/** A peer that gave no figures, or not all. */
export interface Failure {
  readonly peer: string;
  readonly why: string;
}

/** All that was measured of one case. */
export interface CaseResult {
  readonly case: string;
  readonly about: string;
  /** Title with version, by the name of the peer. */
  readonly titles: Readonly<Record<string, string>>;
  readonly series: readonly Series[];
  readonly failures: readonly Failure[];
}

/** What a run has beside its options. */
export interface Surroundings {
  readonly models: string;
  readonly tools: string;
  /** Empty folder for files of the run. */
  readonly folder: string;
  readonly signal: AbortSignal;
  /** Takes a line on what goes on. */
  readonly progress: (line: string) => void;
}

interface Running {
  readonly peer: Peer;
  readonly server: ServerProcess;
  readonly title: string;
  /** Bytes of the body of each answer, prefix included. */
  readonly answerBytes: number;
}

/** Bytes before a message: a flag and the length. https://grpc.io/docs/ PROTOCOL-HTTP2 */
const prefixBytes = 5;
/** Time for one call outside a measurement; a slow peer needs seconds for large messages. */
const callDeadlineMs = 60_000;

/**
 * Starts all peers, measures them in turn, and stops them. A peer that cannot be started, or whose
 * answers are wrong, is left out and named in the result.
 */
export async function measureCase(
  benchCase: BenchCase,
  peers: readonly Peer[],
  options: Options,
  surroundings: Surroundings,
): Promise<CaseResult> {
  const { signal, progress } = surroundings;
  const call = benchCase.makeCall();
  const folder = join(surroundings.folder, benchCase.name);
  mkdirSync(folder);
  const bodyFile = join(folder, "request.bin");
  writeFileSync(bodyFile, framed(call.request));

  const series: Series[] = [];
  const failures: Failure[] = [];
  const running = new Set<Running>();
  const titles: Record<string, string> = {};
  try {
    for (const peer of peers) {
      progress(`${benchCase.name}: starting ${peer.name}`);
      try {
        const started = await startPeer(peer, call, join(folder, peer.name), options, surroundings);
        titles[peer.name] = started.title;
        running.add(started);
      } catch (error) {
        failures.push({ peer: peer.name, why: (error as Error).message });
      }
      signal.throwIfAborted();
    }
    for (const inFlight of levels(options.inFlight, benchCase.maxInFlight)) {
      const measured = new Map<Running, Measurement[]>();
      for (let repeat = 1; repeat <= options.repeats; repeat++) {
        // One measurement of each in turn: what slows the machine down for a while hits all of them.
        for (const one of running) {
          const label = `${benchCase.name}, ${inFlight} in flight, ${repeat}/${options.repeats}`;
          try {
            const result = await measure(one, call, inFlight, {
              bodyFile,
              folder,
              options,
              signal,
            });
            measured.set(one, [...(measured.get(one) ?? []), result]);
            progress(`${label}: ${one.peer.name} ${Math.round(result.callsPerSecond)}/s`);
          } catch (error) {
            signal.throwIfAborted();
            const why = whyItFailed(one.server, error as Error);
            failures.push({ peer: one.peer.name, why: `${inFlight} in flight: ${why}` });
            running.delete(one);
            await one.server.stop();
          }
        }
      }
      for (const [{ peer, server }, measurements] of measured) {
        const { rssBytes } = usageOf(server.pid);
        series.push({ peer: peer.name, inFlight, measurements, rssBytes });
      }
    }
    return { case: benchCase.name, about: benchCase.about, titles, series, failures };
  } finally {
    await Promise.all([...running].map(({ server }) => server.stop()));
  }
}

/** What went wrong with a call, or the end of the server, which explains it better. */
function whyItFailed(server: ServerProcess, error: Error): string {
  try {
    server.requireAlive();
    return error.message;
  } catch (ended) {
    return (ended as Error).message;
  }
}

/** Numbers of calls in flight, none above the limit of the case and none twice. */
function levels(wanted: readonly number[], limit: number): readonly number[] {
  return [...new Set(wanted.map((inFlight) => Math.min(inFlight, limit)))];
}

async function startPeer(
  peer: Peer,
  call: BenchCall,
  folder: string,
  options: Options,
  { models, tools, signal }: Surroundings,
): Promise<Running> {
  mkdirSync(folder);
  const [port, ...sparePorts] = (await freePorts(3)) as [number, number, number];
  const launch = peer.launch({ models, port, sparePorts, folder, tools });
  const logFile = `${folder}.log`;
  const server = await startServer(launch, {
    port,
    core: options.serverCore,
    logFile,
    signal,
  });
  try {
    if (call.model !== undefined) await requireModel(port, call.model);
    const answerBytes = await checkedAnswer(server, call);
    const title = `${peer.title} ${await serverVersion(port)}`;
    return { peer, server, title, answerBytes };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Sends the call once and compares the answer; gives the bytes of its body. */
async function checkedAnswer({ port }: ServerProcess, call: BenchCall): Promise<number> {
  const response = await callUnary(port, call.path, call.request, callDeadlineMs);
  call.check(response);
  return prefixBytes + response.byteLength;
}

async function measure(
  { server, answerBytes }: Running,
  call: BenchCall,
  inFlight: number,
  files: { bodyFile: string; folder: string; options: Options; signal: AbortSignal },
): Promise<Measurement> {
  const { bodyFile, folder, options, signal } = files;
  const load = {
    url: `http://127.0.0.1:${server.port}${call.path}`,
    bodyFile,
    inFlight,
    seconds: options.seconds,
    core: options.clientCore,
    timesFile: join(folder, "times.tsv"),
  };
  // A run of its own: the bytes that h2load counts would include those of its own warm-up.
  await runH2load({ ...load, seconds: options.warmUpSeconds }, signal);
  const before = usageOf(server.pid);
  const result = await runH2load(load, signal);
  const after = usageOf(server.pid);
  // h2load sees only HTTP statuses. A call that gRPC failed has 200 and no body, so bodies are weighed.
  if (result.bodyBytes < result.calls * answerBytes) {
    throw new Error(
      `${result.calls} answers had ${result.bodyBytes} bytes, expected ${answerBytes} each: some calls failed`,
    );
  }
  await checkedAnswer(server, call);
  const cpuMicros = (after.cpuMs - before.cpuMs) * 1000;
  return { ...result, cpuMicrosPerCall: cpuMicros / result.calls };
}

/** A message as gRPC sends it: not compressed, with its length. */
function framed(message: Uint8Array): Buffer {
  const frame = Buffer.alloc(prefixBytes + message.byteLength);
  frame.writeUInt32BE(message.byteLength, 1);
  frame.set(message, prefixBytes);
  return frame;
}
