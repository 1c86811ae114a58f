import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import type { Caller, LoadResult } from "./callers/caller.ts";
import { createGrpcCaller } from "./callers/grpc-caller.ts";
import type { BenchCall } from "./cases/bench-case.ts";
import { freePorts } from "./free-ports.ts";
import type { Options } from "./options.ts";
import type { Peer } from "./peers/peer.ts";
import { usageOf } from "./process-tree.ts";
import { type ServerProcess, startServer } from "./server-process.ts";

/** One measurement. */
export interface Measurement extends LoadResult {
  /** Processor time of the server for one call, in microseconds. */
  readonly cpuMicrosPerCall: number;
  /** 99th percentile of times at a share of the rate, in microseconds, if that was asked for. */
  readonly p99AtShareMicros?: number;
}

/** A peer that serves, and whose first answer was right. */
export interface MeasuredPeer {
  readonly name: string;
  /** Title with the version that the server gives. */
  readonly title: string;
  /** Why its server was started again, for each time. */
  readonly restarts: readonly string[];
  /**
   * Warms up, measures, and checks the answers. A server that ends is started again, up to three
   * times in all: Triton 2.51 sometimes ends when a client leaves while calls are in flight.
   * @throws Error if calls failed
   */
  measure(inFlight: number): Promise<Measurement>;
  /** Resident memory of the server, in bytes. */
  rssBytes(): number;
  stop(): Promise<void>;
}

/** What measurements of a case have in common. */
export interface Setting {
  readonly options: Options;
  readonly call: BenchCall;
  /** Model repository. */
  readonly models: string;
  /** Folder of scripts/install-interop-tools.sh. */
  readonly tools: string;
  /** Folder for files of this case. */
  readonly folder: string;
  readonly signal: AbortSignal;
}

interface CheckedServer {
  readonly process: ServerProcess;
  /** Bytes of the body of each answer, prefix included. */
  readonly answerBytes: number;
}

/** Time between the last word of a server that crashes and its end. */
const graceToEndMs = 1_000;
const maxRestarts = 3;
/** A new server compiles and allocates at first: its first warm-up is longer by this. */
const firstWarmUpFactor = 3;

/**
 * Starts a peer and checks its first answer.
 * @throws Error if it cannot be started or the answer is wrong
 */
export async function startPeer(peer: Peer, setting: Setting): Promise<MeasuredPeer> {
  const { call, options, signal } = setting;
  const folder = mkdtempSync(join(setting.folder, `${peer.name}-calls-`));
  const caller = (peer.makeCaller ?? createGrpcCaller)(call, folder);
  let server = await startChecked(peer, caller, setting);
  let warm = false;
  const restarts: string[] = [];

  const load = (
    seconds: number,
    inFlight: number,
    callsPerSecond?: number,
  ): Promise<LoadResult> => {
    const rate = callsPerSecond === undefined ? {} : { callsPerSecond };
    const { port } = server.process;
    return caller.run({ port, inFlight, seconds, ...rate, core: options.clientCore, signal });
  };

  const measureOnce = async (inFlight: number): Promise<Measurement> => {
    const { process, answerBytes } = server;
    // A run of its own: the bytes that h2load counts would include those of its own warm-up.
    await load(options.warmUpSeconds * (warm ? 1 : firstWarmUpFactor), inFlight);
    warm = true;
    const before = usageOf(process.pid);
    const result = await load(options.seconds, inFlight);
    const after = usageOf(process.pid);
    // A load sees HTTP statuses. A call that gRPC failed has 200 and no body, so bodies are weighed.
    if (result.bodyBytes < result.calls * answerBytes) {
      const given = `${result.calls} answers had ${result.bodyBytes} bytes`;
      throw new Error(`${given}, expected ${answerBytes} each: some calls failed`);
    }
    await caller.checkedAnswer(process.port);
    const cpuMicros = (after.cpuMs - before.cpuMs) * 1000;
    const measured = { ...result, cpuMicrosPerCall: cpuMicros / result.calls };
    if (options.rateShare === 0) return measured;
    const rate = Math.max(1, Math.round(result.callsPerSecond * options.rateShare));
    const { p99Micros } = await load(options.seconds, inFlight, rate);
    return { ...measured, p99AtShareMicros: p99Micros };
  };

  const measure = async (inFlight: number): Promise<Measurement> => {
    try {
      return await measureOnce(inFlight);
    } catch (error) {
      signal.throwIfAborted();
      const end = await server.process.endWithin(graceToEndMs);
      if (end === undefined) throw error;
      if (restarts.length === maxRestarts) throw new Error(end, { cause: error });
      restarts.push(`${inFlight} in flight: ${end}`);
      await server.process.stop();
      server = await startChecked(peer, caller, setting);
      warm = false;
      return measure(inFlight);
    }
  };

  try {
    return {
      name: peer.name,
      title: `${peer.title} ${await caller.version(server.process.port)}`,
      restarts,
      measure,
      rssBytes: () => usageOf(server.process.pid).rssBytes,
      stop: () => server.process.stop(),
    };
  } catch (error) {
    await server.process.stop();
    throw error;
  }
}

async function startChecked(peer: Peer, caller: Caller, setting: Setting): Promise<CheckedServer> {
  const { models, tools, options, signal } = setting;
  const folder = mkdtempSync(join(setting.folder, `${peer.name}-`));
  const [port, ...sparePorts] = (await freePorts(3)) as [number, number, number];
  const work = join(folder, "work");
  mkdirSync(work);
  const launch = peer.launch({ models, port, sparePorts, folder: work, tools });
  const logFile = join(folder, "output.log");
  const core = options.serverCore;
  const process = await startServer(launch, {
    port,
    core,
    logFile,
    isReady: caller.isReady,
    signal,
  });
  try {
    return { process, answerBytes: await caller.checkedAnswer(port) };
  } catch (error) {
    await process.stop();
    throw error;
  }
}
