import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { BenchCase } from "./cases/bench-case.ts";
import { type MeasuredPeer, type Measurement, type Setting, startPeer } from "./measured-peer.ts";
import type { Options } from "./options.ts";
import type { Peer } from "./peers/peer.ts";

/** Measurements of one peer with some calls in flight, in the order in which they ran. */
export interface Series {
  readonly peer: string;
  readonly inFlight: number;
  readonly measurements: readonly Measurement[];
  /** Resident memory of the server after them, in bytes. */
  readonly rssBytes: number;
}

/** What is to be known of a peer beside its figures. */
export interface Remark {
  readonly kind: "failed" | "restarted";
  readonly peer: string;
  readonly why: string;
}

/** All that was measured of one case. */
export interface CaseResult {
  readonly case: string;
  readonly about: string;
  /** Rows of a call; 0 if it has none. */
  readonly rows: number;
  /** Title with version, by the name of the peer. */
  readonly titles: Readonly<Record<string, string>>;
  readonly series: readonly Series[];
  readonly remarks: readonly Remark[];
}

/** What a run has beside its options. */
export interface Surroundings extends Pick<Setting, "models" | "tools" | "signal"> {
  /** Empty folder for files of the run. */
  readonly folder: string;
  /** Takes a line on what goes on. */
  readonly progress: (line: string) => void;
}

/**
 * Starts all peers, measures them in turn, and stops them. A peer that cannot be started, or whose
 * answers are wrong, is left out and named in the result.
 */
export async function measureCase(
  benchCase: BenchCase,
  peers: readonly Peer[],
  options: Options,
  { models, tools, signal, folder: parent, progress }: Surroundings,
): Promise<CaseResult> {
  const folder = join(parent, benchCase.name);
  mkdirSync(folder);
  const call = benchCase.makeCall();
  const setting: Setting = { options, call, models, tools, folder, signal };

  const started: MeasuredPeer[] = [];
  const failed: Remark[] = [];
  const series: Series[] = [];
  try {
    for (const peer of peers) {
      if (peer.serves && !peer.serves(call)) continue;
      progress(`${benchCase.name}: starting ${peer.name}`);
      try {
        started.push(await startPeer(peer, setting));
      } catch (error) {
        signal.throwIfAborted();
        failed.push({ kind: "failed", peer: peer.name, why: (error as Error).message });
      }
    }
    for (const inFlight of levels(options.inFlight, benchCase.maxInFlight)) {
      const able = started.filter(({ name }) => failed.every(({ peer }) => peer !== name));
      const measured = new Map<MeasuredPeer, Measurement[]>(able.map((peer) => [peer, []]));
      for (let repeat = 1; repeat <= options.repeats; repeat++) {
        // One measurement of each in turn: what slows the machine for a while hits all of them.
        for (const [peer, measurements] of measured) {
          const label = `${benchCase.name}, ${inFlight} in flight, ${repeat}/${options.repeats}`;
          try {
            const result = await peer.measure(inFlight);
            measurements.push(result);
            progress(`${label}: ${peer.name} ${result.callsPerSecond.toFixed(1)} calls/s`);
          } catch (error) {
            signal.throwIfAborted();
            const why = `${inFlight} in flight: ${(error as Error).message}`;
            failed.push({ kind: "failed", peer: peer.name, why });
            progress(`${label}: ${peer.name} failed`);
            measured.delete(peer);
            await peer.stop();
          }
        }
      }
      for (const [peer, measurements] of measured) {
        series.push({ peer: peer.name, inFlight, measurements, rssBytes: peer.rssBytes() });
      }
    }
  } finally {
    await Promise.all(started.map((peer) => peer.stop()));
  }
  const restarted = started.flatMap(({ name, restarts }) =>
    restarts.map((why): Remark => ({ kind: "restarted", peer: name, why })),
  );
  return {
    case: benchCase.name,
    about: benchCase.about,
    rows: call.rows,
    titles: Object.fromEntries(started.map(({ name, title }) => [name, title])),
    series,
    remarks: [...failed, ...restarted],
  };
}

/** Numbers of calls in flight, none above the limit of the case and none twice. */
function levels(wanted: readonly number[], limit: number): readonly number[] {
  return [...new Set(wanted.map((inFlight) => Math.min(inFlight, limit)))];
}
