import { leftText, type OptimizedModel } from "../optimize/optimize-model.ts";
import { textTable } from "./text-layout.ts";

/** What an optimization came to, and where it was written. */
export interface OptimizeReport {
  readonly model: string;
  /** Whether the model was written, and if not, why. */
  readonly verdict: "written" | "inexact" | "not asked";
  /** Path of the written model. */
  readonly written: string | undefined;
  readonly tolerance: number;
  readonly result: OptimizedModel;
}

/** The report for people. */
export function reportText({ model, verdict, written, result }: OptimizeReport): string {
  const { bytes, bytesBefore, changes, left, differences, incomparable, speeds } = result;
  const measured: string[][] = [
    ["", "BEFORE", "AFTER", "CHANGE"],
    [
      "size",
      sizeText(bytesBefore),
      sizeText(bytes.byteLength),
      ratio(bytesBefore, bytes.byteLength),
    ],
    ...speeds.map(({ rows, beforeMs, afterMs }) => [
      rows === undefined ? "a run" : `a run of ${rows} row${rows === 1 ? "" : "s"}`,
      `${millis(beforeMs)} ms`,
      `${millis(afterMs)} ms`,
      ratio(beforeMs, afterMs),
    ]),
  ];
  const compared = [
    ["OUTPUT", "ABSOLUTE DIFFERENCE", "RELATIVE", "ELEMENTS"],
    ...differences.map(({ output, absolute, relative, elements }) => [
      output,
      numberText(absolute),
      numberText(relative),
      `${elements}`,
    ]),
  ];
  const notes = [
    ...changes,
    ...(left.length === 0 ? [] : [`left as they are: ${leftText(left)}`]),
    ...incomparable.map((output) => `output ${output} is no tensor and was not compared`),
  ];
  const ends = {
    written: `Wrote ${written}.`,
    inexact: "Nothing was written.",
    "not asked": "Nothing was written; --output PATH writes the model.",
  };
  return `${model}\n${notes.map((note) => `  ${note}\n`).join("")}\n${textTable(measured)}\n\n${textTable(compared)}\n\n${ends[verdict]}\n`;
}

/** The report for programs; times in ms, sizes in bytes. */
export function reportJson({ model, verdict, written, tolerance, result }: OptimizeReport): string {
  const { bytes, bytesBefore, changes, left, differences, incomparable, speeds } = result;
  return JSON.stringify({
    model,
    written: written ?? null,
    tolerance,
    withinTolerance: verdict !== "inexact",
    bytesBefore,
    bytesAfter: bytes.byteLength,
    changes,
    left,
    speeds: speeds.map(({ rows, ...times }) => ({ rows: rows ?? null, ...times })),
    outputs: differences.map(({ absolute, relative, ...rest }) => ({
      ...rest,
      absoluteDifference: finite(absolute),
      relativeDifference: finite(relative),
    })),
    incomparableOutputs: incomparable,
  });
}

/** JSON has no number for what is not finite. */
function finite(value: number): number | string {
  return Number.isFinite(value) ? value : `${value}`;
}

function ratio(before: number, after: number): string {
  return `x${(after / before).toFixed(2)}`;
}

function sizeText(bytes: number): string {
  if (bytes < 10_000) return `${bytes} B`;
  if (bytes < 10_000_000) return `${(bytes / 1000).toFixed(1)} kB`;
  return `${(bytes / 1e6).toFixed(1)} MB`;
}

function millis(time: number): string {
  return time >= 100 ? time.toFixed(0) : time.toPrecision(3);
}

function numberText(value: number): string {
  return value === 0 ? "0" : value.toPrecision(3);
}
