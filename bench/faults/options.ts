import { parseArgs } from "node:util";

/** What the command line asks for. */
export interface FaultOptions {
  /** Names of scenarios; empty is all. */
  readonly scenarios: readonly string[];
  readonly rounds: number;
  readonly patience: "short" | "long";
  readonly seed: number;
}

/** Text of `--help`. */
export const faultUsage = `Has faults happen while a load runs whose every call is accounted for.

  node bench/faults/run.ts [options]

  --scenario NAME,...  what happens; --list lists them     (all)
  --rounds N           how often it happens                (20)
  --patience P         short leaves out a hanging model,
                       which takes 20 s to be noticed      (long)
  --seed N             repeats the choices of a run        (random)

The exit code is 0 if everything held, 1 if something did not, 2 for options that make no sense.
`;

/** The command line, or what to print in its place. */
export type FaultCommand =
  | { readonly kind: "help" }
  | { readonly kind: "list" }
  | { readonly kind: "run"; readonly options: FaultOptions };

/**
 * Reads the command line.
 * @throws Error that names the option, what was given and what it may be
 */
export function readFaultOptions(argv: readonly string[]): FaultCommand {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      help: { type: "boolean", short: "h" },
      list: { type: "boolean" },
      scenario: { type: "string", default: "" },
      rounds: { type: "string", default: "20" },
      patience: { type: "string", default: "long" },
      seed: { type: "string", default: `${Math.floor(Math.random() * 2 ** 31)}` },
    },
  });
  if (values.help) return { kind: "help" };
  if (values.list) return { kind: "list" };
  const { patience } = values;
  if (patience !== "short" && patience !== "long") {
    throw new Error(`--patience is "${patience}"; give short or long`);
  }
  return {
    kind: "run",
    options: {
      scenarios: values.scenario.split(",").filter((name) => name !== ""),
      rounds: whole("rounds", values.rounds, 1, 10_000),
      patience,
      seed: whole("seed", values.seed, 0, 2 ** 31),
    },
  };
}

function whole(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new Error(`--${option} is "${text}"; give a whole number from ${min} to ${max}`);
  }
  return value;
}
