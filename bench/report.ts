import type { CaseResult, Series } from "./measure-case.ts";
import type { Measurement } from "./measured-peer.ts";
import { median } from "./statistics.ts";

/** The peer that others are compared with. */
const reference = "ours";

const columns = [
  "server",
  "calls/s",
  "rows/s",
  "spread",
  "p50",
  "p99",
  "p99 at a share",
  "CPU a call",
  "memory",
  "ours is",
] as const;

/** Tables of one case, one for each number of calls in flight. */
export function caseReport(result: CaseResult, format: "text" | "markdown"): string {
  const heading = `${result.case}: ${result.about}`;
  const counts = [...new Set(result.series.map(({ inFlight }) => inFlight))];
  const tables = counts.map((inFlight) => {
    const rows = rowsOf(result, inFlight);
    return format === "markdown"
      ? `${inFlight} in flight\n\n${markdownTable(rows)}`
      : `${inFlight} in flight\n${textTable(rows)}`;
  });
  const remarks = result.remarks.map(({ kind, peer, why }) =>
    kind === "failed" ? `No figures of ${peer}: ${why}` : `${peer} was started again: ${why}`,
  );
  const parts = [format === "markdown" ? `### ${heading}` : heading, ...tables, ...remarks];
  return `${parts.join("\n\n")}\n`;
}

function rowsOf(result: CaseResult, inFlight: number): readonly (readonly string[])[] {
  const series = result.series.filter((one) => one.inFlight === inFlight);
  const own = series.find(({ peer }) => peer === reference);
  const rows = series.map((one) => rowOf(one, own, result));
  return withoutEmptyColumns([columns, ...rows]);
}

/** Leaves out what was not measured of anybody. */
function withoutEmptyColumns(rows: readonly (readonly string[])[]): readonly (readonly string[])[] {
  const [, ...body] = rows;
  const filled = columns.map((_, column) => body.some((row) => row[column] !== ""));
  return rows.map((row) => row.filter((_, column) => filled[column]));
}

function rowOf(
  series: Series,
  own: Series | undefined,
  { titles, rows }: CaseResult,
): readonly string[] {
  const { peer, measurements, rssBytes } = series;
  const middle = (figure: (one: Measurement) => number) => median(measurements.map(figure));
  const rates = measurements.map(({ callsPerSecond }) => callsPerSecond);
  const rate = median(rates);
  return [
    titles[peer] ?? peer,
    withDigits(rate),
    // Of one row it is the number of calls again.
    rows > 1 ? withDigits(rate * rows) : "",
    `${Math.round(((Math.max(...rates) - Math.min(...rates)) / rate) * 100)} %`,
    milliseconds(middle((one) => one.p50Micros)),
    milliseconds(middle((one) => one.p99Micros)),
    measurements.some(({ p99AtShareMicros }) => p99AtShareMicros === undefined)
      ? ""
      : milliseconds(middle((one) => one.p99AtShareMicros ?? 0)),
    `${withDigits(middle((one) => one.cpuMicrosPerCall))} us`,
    `${Math.round(rssBytes / 1e6)} MB`,
    own === undefined || own === series ? "" : `${ratio(own, series).toPrecision(3)} x`,
  ];
}

/** Median of the ratios of measurements that ran one after the other. */
function ratio(own: Series, peer: Series): number {
  const ratios = peer.measurements.flatMap(({ callsPerSecond }, index) => {
    const ours = own.measurements[index];
    return ours === undefined ? [] : [ours.callsPerSecond / callsPerSecond];
  });
  return median(ratios);
}

function milliseconds(micros: number): string {
  return `${withDigits(micros / 1000)} ms`;
}

/** Three digits that count: no measurement here is steadier. */
function withDigits(value: number): string {
  return value >= 100
    ? String(Math.round(Number(value.toPrecision(3)))).replace(/\B(?=(\d{3})+$)/g, " ")
    : value.toPrecision(3);
}

function textTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows
    .map((row) =>
      row
        .map((cell, column) =>
          column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!),
        )
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}

function markdownTable(rows: readonly (readonly string[])[]): string {
  const [head, ...body] = rows.map((row) => `| ${row.join(" | ")} |`);
  return [
    head,
    `|${rows[0]!.map((_, column) => (column === 0 ? "---|" : "--:|")).join("")}`,
    ...body,
  ].join("\n");
}
