import { parseArgs } from "node:util";

/** What the command line of the soak asks for. */
export interface SoakOptions {
  /** Length of the measured part. */
  readonly minutes: number;
  /** Load before it, in seconds: code is compiled and pools are filled. */
  readonly warmUpSeconds: number;
  /** Time between samples, in seconds. */
  readonly everySeconds: number;
  /** HTTP/2 connections at once. */
  readonly connections: number;
  /** Calls under way at once on each of them. */
  readonly callsEach: number;
  /** Of the random numbers that choose what happens. */
  readonly seed: number;
}

/** Text of `--help`. */
export const soakUsage = `Calls a server for a long time, cancels, resets and vanishes at random, and says what is left of it.

  node bench/soak/run.ts [options]

  --minutes N       length of the measured part            (10)
  --warm-up N       seconds of load before                 (30)
  --every N         seconds between samples                (30)
  --connections N   HTTP/2 connections at once             (8)
  --calls N         calls under way at once on each        (4)
  --seed N          repeats the choices of an earlier run  (random)

The exit code is 0 if nothing leaked, 1 if something did, 2 for options that make no sense.
`;

/**
 * Reads the command line; undefined asks for help.
 * @throws Error that names the option, what was given and what it may be
 */
export function readSoakOptions(argv: readonly string[]): SoakOptions | undefined {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      help: { type: "boolean", short: "h" },
      minutes: { type: "string", default: "10" },
      "warm-up": { type: "string", default: "30" },
      every: { type: "string", default: "30" },
      connections: { type: "string", default: "8" },
      calls: { type: "string", default: "4" },
      seed: { type: "string", default: `${Math.floor(Math.random() * 2 ** 31)}` },
    },
  });
  if (values.help) return undefined;
  const options: SoakOptions = {
    minutes: number("minutes", values.minutes, 0.05, 24 * 60),
    warmUpSeconds: number("warm-up", values["warm-up"], 1, 3600),
    everySeconds: number("every", values.every, 0.5, 3600),
    connections: whole("connections", values.connections, 1, 1000),
    callsEach: whole("calls", values.calls, 1, 100),
    seed: whole("seed", values.seed, 0, 2 ** 31),
  };
  const samples = (options.minutes * 60) / options.everySeconds;
  if (samples < 4) {
    throw new Error(
      `--minutes ${values.minutes} and --every ${values.every} give ${Math.floor(samples)} samples; a line needs at least 4: sample more often, or longer`,
    );
  }
  return options;
}

function number(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!(value >= min && value <= max)) {
    throw new Error(`--${option} is "${text}"; give a number from ${min} to ${max}`);
  }
  return value;
}

function whole(option: string, text: string, min: number, max: number): number {
  const value = number(option, text, min, max);
  if (!Number.isInteger(value)) {
    throw new Error(`--${option} is "${text}"; give a whole number from ${min} to ${max}`);
  }
  return value;
}
