import { parseArgs } from "node:util";

/** What the command line asks for. */
export interface Options {
  /** Names of cases; empty is all. */
  readonly cases: readonly string[];
  readonly peers: readonly string[];
  readonly inFlight: readonly number[];
  readonly seconds: number;
  readonly warmUpSeconds: number;
  readonly repeats: number;
  /** Share of the measured rate at which times are measured again; 0 for not at all. */
  readonly rateShare: number;
  readonly serverCore: number;
  readonly clientCore: number;
  /** File for all figures. */
  readonly json?: string;
  readonly format: "text" | "markdown";
  /** Flags for our server. */
  readonly ourFlags: readonly string[];
}

/** Text of `--help`. */
export const usage = `Measures this server and its peers, and prints a table of ratios.

  npm run bench -- [options]

  --case NAME,...       cases to run                          (all)
  --peers NAME,...      ours, kserve, mlserver, triton, bare  (all)
  --in-flight N,...     calls in flight on the connection     (1,64)
  --seconds N           length of one measurement             (3)
  --warm-up N           seconds of load before each           (1)
  --repeats N           measurements of each peer             (5)
  --rate-share N        measures times again at this share
                        of the rate, as 0.7               (0: not)
  --server-core N       processor core of the servers         (0)
  --client-core N       processor core of h2load              (1)
  --our-flags="..."     flags added to tensorwire serve
  --json FILE           writes all figures
  --markdown            prints tables for a document
  --list                lists cases and peers
`;

/** The command line, or what to print instead. */
export type Command =
  | { readonly kind: "help" }
  | { readonly kind: "list" }
  | { readonly kind: "run"; readonly options: Options };

/** Upper limits, so that a slip of the finger does not occupy a machine for days. */
const maxSeconds = 600;
const maxRepeats = 100;
const maxInFlight = 1024;
const maxCore = 4095;

/**
 * Reads the command line.
 * @throws Error that names the option and what it may be
 */
export function readOptions(argv: readonly string[]): Command {
  const { values } = parseArgs({
    args: [...argv],
    options: {
      help: { type: "boolean", short: "h" },
      list: { type: "boolean" },
      case: { type: "string", multiple: true, default: [] },
      peers: { type: "string", default: "ours,kserve,mlserver,triton,bare" },
      "in-flight": { type: "string", default: "1,64" },
      seconds: { type: "string", default: "3" },
      "warm-up": { type: "string", default: "1" },
      repeats: { type: "string", default: "5" },
      "rate-share": { type: "string", default: "0" },
      "server-core": { type: "string", default: "0" },
      "client-core": { type: "string", default: "1" },
      "our-flags": { type: "string", default: "" },
      json: { type: "string" },
      markdown: { type: "boolean", default: false },
    },
  });
  if (values.help) return { kind: "help" };
  if (values.list) return { kind: "list" };
  const serverCore = integer("server-core", values["server-core"], 0, maxCore);
  const clientCore = integer("client-core", values["client-core"], 0, maxCore);
  if (serverCore === clientCore) {
    throw new Error("--server-core and --client-core must differ: the client would take its time");
  }
  return {
    kind: "run",
    options: {
      cases: values.case.flatMap(list),
      peers: list(values.peers),
      inFlight: list(values["in-flight"]).map((text) => integer("in-flight", text, 1, maxInFlight)),
      seconds: integer("seconds", values.seconds, 1, maxSeconds),
      warmUpSeconds: integer("warm-up", values["warm-up"], 1, maxSeconds),
      repeats: integer("repeats", values.repeats, 1, maxRepeats),
      rateShare: share("rate-share", values["rate-share"]),
      serverCore,
      clientCore,
      json: values.json,
      format: values.markdown ? "markdown" : "text",
      ourFlags: values["our-flags"].split(/\s+/).filter((flag) => flag !== ""),
    },
  };
}

function list(text: string): readonly string[] {
  return text.split(",").filter((name) => name !== "");
}

function share(option: string, text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 1)) {
    throw new Error(`--${option} is "${text}"; give a number from 0 to 1`);
  }
  return value;
}

function integer(option: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < min || value > max) {
    throw new Error(`--${option} is "${text}"; give a whole number from ${min} to ${max}`);
  }
  return value;
}
