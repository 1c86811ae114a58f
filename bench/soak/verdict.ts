import type { ServerSample } from "./soaked-server.ts";

/** A sample, and when it was taken. */
export interface TimedSample extends ServerSample {
  /** Seconds since the measured part began. */
  readonly seconds: number;
}

/** What a soak came to. */
export interface SoakResult {
  /** With every connection closed, before the measured part. */
  readonly base: ServerSample;
  /** Without calls under way, garbage collected. */
  readonly samples: readonly TimedSample[];
  /** With every connection closed, at the end. */
  readonly last: ServerSample;
  readonly wrongs: readonly string[];
  readonly wrongCount: number;
  /** What the server wrote to its standard error. */
  readonly complaints: string;
  readonly exitCode: number | null;
}

/** One thing that had to hold. */
export interface Check {
  readonly name: string;
  readonly holds: boolean;
  readonly detail: string;
}

const mebibyte = 1024 * 1024;

/** Growth over the whole run that is still called flat: code that is compiled, tables that fill. */
const flatHeapBytes = 3 * mebibyte;
const flatHeapShare = 0.05;
/** A long run has filled the buffers that are kept for the next message; they come on top of the heap. */
const flatExternalBytes = 16 * mebibyte;
/** A short one may be at it still: 64 MiB of them are kept at most (server/wire/message-buffers.ts). */
const fillingExternalBytes = 64 * mebibyte;
const longSeconds = 300;
const flatExternalShare = 0.1;

/** Slope of the line through points that has the least squares, in y per x. */
export function slopeOf(points: readonly (readonly [x: number, y: number])[]): number {
  const meanX = mean(points.map(([x]) => x));
  const meanY = mean(points.map(([, y]) => y));
  const over = points.reduce((sum, [x, y]) => sum + (x - meanX) * (y - meanY), 0);
  const under = points.reduce((sum, [x]) => sum + (x - meanX) ** 2, 0);
  return under === 0 ? 0 : over / under;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Everything that must hold of a server that has been soaked. */
export function judge(result: SoakResult): readonly Check[] {
  const { base, last, samples } = result;
  const isLong = samples.at(-1)!.seconds >= longSeconds;
  const leaked = samples.filter(({ openStreams }) => openStreams > 0).length;
  return [
    {
      name: "every call ended as it should",
      holds: result.wrongCount === 0,
      detail: result.wrongCount === 0 ? "" : `${result.wrongCount} did not`,
    },
    {
      name: "no stream is open without a call",
      holds: leaked === 0 && last.openStreams === 0,
      detail: `${leaked} of ${samples.length} samples had some, ${last.openStreams} at the end`,
    },
    {
      name: "no connection is open",
      holds: last.openConnections === 0,
      detail: `${last.openConnections} at the end`,
    },
    {
      name: "no timer is left",
      holds: last.timers <= base.timers,
      detail: `${base.timers} before, ${last.timers} at the end`,
    },
    {
      name: "file descriptors are back",
      holds: last.fileDescriptors <= base.fileDescriptors,
      detail: `${base.fileDescriptors} before, ${last.fileDescriptors} at the end`,
    },
    flat("the heap is flat", samples, "heapBytes", flatHeapBytes, flatHeapShare),
    flat(
      "memory outside the heap is flat",
      samples,
      "externalBytes",
      isLong ? flatExternalBytes : fillingExternalBytes,
      flatExternalShare,
    ),
    {
      name: "the server complained of nothing, and ended when asked",
      holds: result.complaints === "" && result.exitCode === 0,
      detail: result.complaints === "" ? `exit code ${result.exitCode}` : result.complaints,
    },
  ];
}

function flat(
  name: string,
  samples: readonly TimedSample[],
  key: "heapBytes" | "externalBytes",
  allowedBytes: number,
  allowedShare: number,
): Check {
  const slope = slopeOf(samples.map((sample) => [sample.seconds, sample[key]]));
  const seconds = samples.at(-1)!.seconds - samples[0]!.seconds;
  const growth = slope * seconds;
  const average = mean(samples.map((sample) => sample[key]));
  const allowed = Math.max(allowedBytes, average * allowedShare);
  const text = (bytes: number): string => `${(bytes / mebibyte).toFixed(1)} MiB`;
  return {
    name,
    holds: growth <= allowed,
    detail: `a line through ${samples.length} samples grows by ${text(growth)} in ${Math.round(seconds)} s (mean ${text(average)}, allowed ${text(allowed)})`,
  };
}
