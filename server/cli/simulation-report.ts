import { timeText } from "../autoscaling/simulation/chart.ts";
import type { SimulationResult } from "../autoscaling/simulation/simulate.ts";
import { slices, summarize } from "../autoscaling/simulation/summary.ts";
import { textTable } from "./text-layout.ts";

/** The report for people. */
export function simulationText(
  results: readonly SimulationResult[],
  rows: number,
  svg: string | undefined,
): string {
  const whole = textTable([
    [
      "SCALER",
      "REQUESTS",
      "ANSWERED",
      "REFUSED",
      "TIMED OUT",
      "P50",
      "P95",
      "P99",
      "MAX",
      "PODS",
      "POD-HOURS",
      "TO A COLD SERVICE",
    ],
    ...results.map((result) => {
      const { came, answered, refused, timedOut, latency, ready } = summarize(result.seconds);
      return [
        result.scaler,
        `${came}`,
        `${answered}`,
        `${refused}`,
        `${timedOut}`,
        msText(latency?.p50),
        msText(latency?.p95),
        msText(latency?.p99),
        msText(latency?.most),
        `${ready.least} to ${ready.most}, ${ready.mean.toFixed(1)} on average`,
        (result.podSeconds / 3600).toFixed(3),
        `${result.coldRequests}`,
      ];
    }),
  ]);
  const timelines = rows === 0 ? [] : results.map((result) => timeline(result, rows));
  const end = svg === undefined ? [] : [`Drawn to ${svg}.`];
  return `${[whole, ...timelines, ...end].join("\n\n")}\n`;
}

function timeline(result: SimulationResult, rows: number): string {
  const length = Math.max(1, Math.ceil(result.seconds.length / rows));
  return textTable([
    [
      result.scaler.toUpperCase(),
      "REQ/S",
      "WANTED",
      "READY",
      "AT ONCE",
      "WAITING",
      "P50",
      "P99",
      "LAST DECISION",
    ],
    ...slices(result, length).map((part) => [
      timeText(part.second),
      (part.came / part.length).toFixed(1),
      rangeText(part.wanted),
      rangeText(part.ready),
      part.concurrency.mean.toFixed(1),
      `${part.mostWaiting}`,
      msText(part.latency?.p50),
      msText(part.latency?.p99),
      part.why ?? "",
    ]),
  ]);
}

/** The report for programs; times in ms, a row a second. */
export function simulationJson(results: readonly SimulationResult[]): string {
  return JSON.stringify({
    simulations: results.map((result) => ({
      scaler: result.scaler,
      podSeconds: result.podSeconds,
      coldRequests: result.coldRequests,
      ...summarize(result.seconds),
      seconds: slices(result, 1).map((part) => ({
        second: part.second,
        came: part.came,
        answered: part.answered,
        refused: part.refused,
        timedOut: part.timedOut,
        wanted: part.wanted.most,
        ready: part.ready.most,
        concurrency: part.concurrency.mean,
        waiting: part.mostWaiting,
        latency: part.latency,
        why: part.why,
      })),
    })),
  });
}

function rangeText({ least, most }: { readonly least: number; readonly most: number }): string {
  return least === most ? `${most}` : `${least}-${most}`;
}

function msText(ms: number | undefined): string {
  if (ms === undefined) return "-";
  return ms >= 10_000 ? `${(ms / 1000).toPrecision(3)} s` : `${Number(ms.toPrecision(3))} ms`;
}
