import type { SimulationResult } from "./simulate.ts";
import { type SimulationSlice, slices } from "./summary.ts";

const width = 960;
const panelHeight = 150;
const margin = { left: 64, right: 20, top: 64, bottom: 30, between: 46 } as const;
const plotWidth = width - margin.left - margin.right;
/** Points of a line at most. */
const maxPoints = 480;
/** Colours that people with deficient colour vision tell apart (Okabe and Ito, 2008). */
const colors = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00"];

interface Line {
  readonly color: string;
  readonly dashed: boolean;
  /** By slice; `undefined` leaves a gap. */
  readonly values: readonly (number | undefined)[];
}

interface Panel {
  readonly title: string;
  readonly lines: readonly Line[];
  readonly scale: "linear" | "logarithmic";
}

/** Draws simulations of one load over time: requests, pods, demand and latency, as SVG. */
export function simulationChart(title: string, results: readonly SimulationResult[]): string {
  const seconds = results[0]?.seconds.length ?? 0;
  const length = Math.max(1, Math.ceil(seconds / maxPoints));
  const drawn = results.map((result, index) => ({
    name: result.scaler,
    color: colors[index % colors.length]!,
    parts: slices(result, length),
  }));
  const lines = (
    pick: (part: SimulationSlice) => number | undefined,
    dashed: "dashed" | "solid" = "solid",
  ): Line[] =>
    drawn.map(({ color, parts }) => ({
      color,
      dashed: dashed === "dashed",
      values: parts.map(pick),
    }));
  const came = drawn[0]?.parts.map((part) => part.came / part.length) ?? [];
  const panels: Panel[] = [
    {
      title: "Requests a second: came (dashed), answered",
      scale: "linear",
      lines: [
        { color: "#555555", dashed: true, values: came },
        ...lines((part) => part.answered / part.length),
      ],
    },
    {
      title: "Pods: wanted (dashed), ready",
      scale: "linear",
      lines: [...lines(({ wanted }) => wanted.most, "dashed"), ...lines(({ ready }) => ready.most)],
    },
    {
      title: "Requests: at once (dashed), most that waited for a pod",
      scale: "linear",
      lines: [
        ...lines(({ concurrency }) => concurrency.mean, "dashed"),
        ...lines(({ mostWaiting }) => mostWaiting),
      ],
    },
    {
      title: "Latency in ms, logarithmic: p50 (dashed), p99",
      scale: "logarithmic",
      lines: [
        ...lines(({ latency }) => latency?.p50, "dashed"),
        ...lines(({ latency }) => latency?.p99),
      ],
    },
  ];
  const height =
    margin.top + panels.length * (panelHeight + margin.between) - margin.between + margin.bottom;
  const body = panels.map((panel, index) =>
    drawPanel(panel, margin.top + index * (panelHeight + margin.between), seconds),
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" font-family="system-ui, sans-serif" font-size="12" fill="#222">
<title>${escaped(title)}</title>
<rect width="100%" height="100%" fill="#fff"/>
<text x="${margin.left}" y="24" font-size="16" font-weight="600">${escaped(title)}</text>
${drawLegend(drawn)}
${body.join("\n")}
</svg>
`;
}

function drawPanel({ title, lines, scale }: Panel, top: number, seconds: number): string {
  const values = lines.flatMap((line) => line.values.filter((value) => value !== undefined));
  const [bottomValue, topValue, ticks] =
    scale === "linear" ? linearTicks(values) : logarithmicTicks(values);
  const transform = scale === "linear" ? (value: number) => value : Math.log10;
  const low = transform(bottomValue);
  const high = transform(topValue);
  const y = (value: number): number =>
    top + panelHeight * (1 - (transform(Math.max(value, bottomValue)) - low) / (high - low));
  const grid = ticks.map(
    (tick) =>
      `<line x1="${margin.left}" x2="${width - margin.right}" y1="${fixed(y(tick))}" y2="${fixed(y(tick))}" stroke="#e3e3e3"/>` +
      `<text x="${margin.left - 8}" y="${fixed(y(tick) + 4)}" text-anchor="end">${tick}</text>`,
  );
  const times = timeTicks(seconds).map(([second, text]) => {
    const x = fixed(margin.left + (plotWidth * second) / seconds);
    return (
      `<line x1="${x}" x2="${x}" y1="${top}" y2="${top + panelHeight}" stroke="#f0f0f0"/>` +
      `<text x="${x}" y="${top + panelHeight + 16}" text-anchor="middle" fill="#666">${text}</text>`
    );
  });
  const paths = lines.map((line) => drawLine(line, y));
  return `<g>
<text x="${margin.left}" y="${top - 8}" font-weight="600">${escaped(title)}</text>
${[...times, ...grid].join("\n")}
${paths.join("\n")}
</g>`;
}

function drawLine({ values, color, dashed }: Line, y: (value: number) => number): string {
  let path = "";
  let pen = "M";
  values.forEach((value, index) => {
    if (value === undefined) {
      pen = "M";
      return;
    }
    const x = margin.left + (plotWidth * (index + 0.5)) / values.length;
    path += `${pen}${fixed(x)} ${fixed(y(value))}`;
    pen = "L";
  });
  const stroke = dashed ? ' stroke-dasharray="4 3" stroke-opacity="0.75"' : "";
  return `<path d="${path}" fill="none" stroke="${color}" stroke-width="1.6"${stroke}/>`;
}

function drawLegend(drawn: readonly { readonly name: string; readonly color: string }[]): string {
  // Names are short; 80 units are enough for each.
  const entries = drawn.map(({ name, color }, index) => {
    const x = width - margin.right - 80 * (drawn.length - index);
    return (
      `<line x1="${x}" x2="${x + 22}" y1="20" y2="20" stroke="${color}" stroke-width="3"/>` +
      `<text x="${x + 28}" y="24">${escaped(name)}</text>`
    );
  });
  return entries.join("\n");
}

type Ticks = readonly [bottom: number, top: number, ticks: readonly number[]];

function linearTicks(values: readonly number[]): Ticks {
  const most = values.reduce((a, b) => Math.max(a, b), 0) || 1;
  const power = 10 ** Math.floor(Math.log10(most / 4));
  const step = [1, 2, 5, 10].map((each) => each * power).find((each) => most / each <= 5)!;
  const top = Math.ceil(most / step) * step;
  const ticks: number[] = [];
  for (let count = 0; count * step <= top * 1.0001; count++) {
    ticks.push(Number((count * step).toPrecision(6)));
  }
  return [0, top, ticks];
}

function logarithmicTicks(values: readonly number[]): Ticks {
  const positive = values.filter((value) => value > 0);
  const least = positive.reduce((a, b) => Math.min(a, b), Number.POSITIVE_INFINITY);
  const most = positive.reduce((a, b) => Math.max(a, b), 0);
  if (most === 0) return [1, 10, [1, 10]];
  const low = Math.floor(Math.log10(least));
  const high = Math.max(low + 1, Math.ceil(Math.log10(most)));
  const ticks: number[] = [];
  for (let power = low; power <= high; power++) ticks.push(Number((10 ** power).toPrecision(1)));
  return [10 ** low, 10 ** high, ticks];
}

function timeTicks(seconds: number): (readonly [second: number, text: string])[] {
  const steps = [
    1, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14_400, 43_200, 86_400, 432_000,
  ];
  const step = steps.find((each) => seconds / each <= 10) ?? steps.at(-1)!;
  const ticks: (readonly [number, string])[] = [];
  for (let second = 0; second <= seconds; second += step) ticks.push([second, timeText(second)]);
  return ticks;
}

/** A time from the start: `45 s`, `2:30`, `1:02:30`. */
export function timeText(second: number): string {
  if (second < 60) return `${second} s`;
  const pad = (value: number): string => String(value).padStart(2, "0");
  const hours = Math.floor(second / 3600);
  const minutes = Math.floor((second % 3600) / 60);
  const rest = pad(Math.floor(second % 60));
  return hours === 0 ? `${minutes}:${rest}` : `${hours}:${pad(minutes)}:${rest}`;
}

function fixed(value: number): string {
  return String(Math.round(value * 10) / 10);
}

function escaped(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}
