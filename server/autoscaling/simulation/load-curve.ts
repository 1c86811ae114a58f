import { loadInvalid } from "../../errors/autoscaling-errors.ts";

/** Requests a second over time. */
export interface LoadCurve {
  /** Length in seconds. */
  readonly seconds: number;
  /** Requests a second at a time in seconds from the start. */
  rateAt(second: number): number;
}

interface Phase {
  readonly seconds: number;
  readonly from: number;
  readonly to: number;
  readonly shape: "line" | "wave";
}

const units = { s: 1, m: 60, h: 3600, d: 86_400 } as const;
const number = String.raw`\d+(?:\.\d+)?`;
const phaseForm = new RegExp(`^(wave )?(${number})(?:\\.\\.(${number}))?:(${number})([smhd])$`);
const example = '"0..200:2m,200:10m,0:5m", or "wave 20..400:24h" for a day';

/** Longest load that is simulated, in seconds: 31 days. */
export const maxSeconds = 31 * 86_400;
/** Most requests of a load. */
export const maxRequests = 20_000_000;

/**
 * Reads a load as phases parted by commas: `RATE:TIME` holds a rate, `FROM..TO:TIME` goes from one to
 * another in a line, `wave LOW..HIGH:TIME` rises from low to high and back once.
 *
 * @throws TensorwireError `SETTING_INVALID`
 */
export function parseLoad(text: string): LoadCurve {
  const phases = text.split(",").map((part) => {
    const found = phaseForm.exec(part.trim());
    if (!found) throw loadInvalid(part.trim(), `a phase such as those of ${example}`);
    const [, wave, from, to, time, unit] = found;
    const phase: Phase = {
      seconds: Number(time) * units[unit as keyof typeof units],
      from: Number(from),
      to: Number(to ?? from),
      shape: wave ? "wave" : "line",
    };
    return phase;
  });
  const seconds = phases.reduce((sum, phase) => sum + phase.seconds, 0);
  return checked({
    seconds,
    rateAt(second) {
      let since = second;
      for (const phase of phases) {
        if (since < phase.seconds) return rateOf(phase, since / phase.seconds);
        since -= phase.seconds;
      }
      return 0;
    },
  });
}

/**
 * Reads a trace: lines of `second,requests-per-second`, each of which holds until the next. A first line that
 * is no number is a heading.
 *
 * @throws TensorwireError `SETTING_INVALID`
 */
export function parseTrace(text: string): LoadCurve {
  const points: { readonly second: number; readonly rate: number }[] = [];
  text.split(/\r?\n/).forEach((line, index) => {
    if (line.trim() === "") return;
    const [second = Number.NaN, rate = Number.NaN] = line.split(",").map(Number);
    const last = points.at(-1)?.second ?? Number.NEGATIVE_INFINITY;
    if (Number.isFinite(second) && second > last && Number.isFinite(rate) && rate >= 0) {
      points.push({ second, rate });
    } else if (index > 0 || /^[\d.\-+]/.test(line)) {
      throw loadInvalid(
        `line ${index + 1} ${JSON.stringify(line.slice(0, 60))}`,
        "second,requests-per-second with seconds that rise",
      );
    }
  });
  if (points.length < 2) throw loadInvalid(`${points.length} lines`, "two or more");
  const begin = points[0]!.second;
  const seconds = points.at(-1)!.second - begin;
  let at = 0;
  return checked({
    seconds,
    rateAt(second) {
      const wanted = begin + second;
      if (points[at]!.second > wanted) at = 0;
      while (at + 1 < points.length && points[at + 1]!.second <= wanted) at++;
      return points[at]!.rate;
    },
  });
}

function rateOf({ shape, from, to }: Phase, share: number): number {
  switch (shape) {
    case "line":
      return from + (to - from) * share;
    case "wave":
      return from + ((to - from) * (1 - Math.cos(2 * Math.PI * share))) / 2;
  }
}

function checked(curve: LoadCurve): LoadCurve {
  const { seconds } = curve;
  if (seconds > maxSeconds) throw loadInvalid(`${seconds} s`, `at most ${maxSeconds} s, 31 days`);
  let requests = 0;
  for (let second = 0; second < seconds; second++) requests += curve.rateAt(second + 0.5);
  if (requests > maxRequests) {
    throw loadInvalid(
      `${Math.round(requests)} requests`,
      `at most ${maxRequests}; scale rates, concurrency and target down together`,
    );
  }
  return curve;
}
