import type { SimulatedSecond, SimulationResult } from "./simulate.ts";

/** Numbers of a whole simulation, or of a part of it. Times in ms. */
export interface SimulationSummary {
  readonly came: number;
  readonly answered: number;
  readonly refused: number;
  readonly timedOut: number;
  /** `undefined` if nothing was answered. */
  readonly latency:
    | { readonly p50: number; readonly p95: number; readonly p99: number; readonly most: number }
    | undefined;
  readonly wanted: Range;
  readonly ready: Range;
  readonly concurrency: Range;
  /** Most requests that waited for a pod. */
  readonly mostWaiting: number;
}

/** Least, mean and most over the seconds. */
export interface Range {
  readonly least: number;
  readonly mean: number;
  readonly most: number;
}

/** Sums seconds up. */
export function summarize(seconds: readonly SimulatedSecond[]): SimulationSummary {
  const sum = (key: "came" | "answered" | "refused" | "timedOut"): number =>
    seconds.reduce((total, second) => total + second[key], 0);
  return {
    came: sum("came"),
    answered: sum("answered"),
    refused: sum("refused"),
    timedOut: sum("timedOut"),
    latency: latencyOf(seconds),
    wanted: rangeOf(seconds.map(({ wanted }) => wanted)),
    ready: rangeOf(seconds.map(({ ready }) => ready)),
    concurrency: rangeOf(seconds.map(({ concurrency }) => concurrency)),
    mostWaiting: rangeOf(seconds.map(({ waiting }) => waiting)).most,
  };
}

/** A stretch of a simulation. */
export interface SimulationSlice extends SimulationSummary {
  /** Its first second, from 0 on, and its length. */
  readonly second: number;
  readonly length: number;
  /** The last decision of it that changed something. */
  readonly why: string | undefined;
}

/** Cuts a simulation into stretches of equal length. */
export function slices({ seconds }: SimulationResult, length: number): readonly SimulationSlice[] {
  const found: SimulationSlice[] = [];
  for (let second = 0; second < seconds.length; second += length) {
    const part = seconds.slice(second, second + length);
    const why = part.findLast((each) => each.why !== undefined)?.why;
    found.push({ ...summarize(part), second, length: part.length, why });
  }
  return found;
}

function latencyOf(seconds: readonly SimulatedSecond[]): SimulationSummary["latency"] {
  const count = seconds.reduce((total, { latencies }) => total + latencies.length, 0);
  if (count === 0) return undefined;
  const sorted = new Float64Array(count);
  let at = 0;
  for (const { latencies } of seconds) {
    sorted.set(latencies, at);
    at += latencies.length;
  }
  sorted.sort();
  // Nearest rank: the smallest that so large a share does not exceed.
  const quantile = (share: number): number => sorted[Math.max(0, Math.ceil(count * share) - 1)]!;
  return { p50: quantile(0.5), p95: quantile(0.95), p99: quantile(0.99), most: quantile(1) };
}

function rangeOf(values: readonly number[]): Range {
  let least = Number.POSITIVE_INFINITY;
  let most = 0;
  let sum = 0;
  for (const value of values) {
    least = Math.min(least, value);
    most = Math.max(most, value);
    sum += value;
  }
  return { least: values.length === 0 ? 0 : least, mean: sum / (values.length || 1), most };
}
