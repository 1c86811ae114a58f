import { styleText } from "node:util";
import type { IndexRow } from "../predictor/repository/model-entry.ts";
import { servingModel } from "../predictor/repository/version-state.ts";
import { packageVersion } from "./package-version.ts";
import { portsText } from "./ports-text.ts";
import { type SampleModel, sampleCalls, sampleSize } from "./sample-calls.ts";
import type { ServeValues } from "./serve-values.ts";
import { textTable } from "./text-layout.ts";

/** The start-up screen of a server with these settings. */
export function serveScreen(
  values: Pick<ServeValues, "unix" | "static-dir">,
  {
    urls,
    ...rest
  }: Pick<StartScreenOptions, "rows" | "startMs" | "color"> & {
    /** Of the ports; the first is that of `--port`. */
    readonly urls: readonly string[];
  },
): string {
  const [url, ...others] = urls;
  return startScreen({
    ...rest,
    version: packageVersion(),
    url: url!,
    alsoAt: values.unix === undefined ? others : [...others, `unix:${values.unix}`],
    page: values["static-dir"] !== undefined,
  });
}

/** What the start-up screen shows. */
export interface StartScreenOptions {
  readonly version: string;
  /** `http://127.0.0.1:8080` */
  readonly url: string;
  /** Further addresses that speak the same. */
  readonly alsoAt: readonly string[];
  readonly rows: readonly IndexRow[];
  readonly startMs: number;
  /** Whether there is a page under `/`. */
  readonly page: boolean;
  readonly color: boolean;
}

/** The start-up screen: address, models, models that failed and why, and calls to copy. */
export function startScreen(options: StartScreenOptions): string {
  const { version, url, alsoAt, rows, startMs, page, color } = options;
  const bold = (text: string): string =>
    color ? styleText("bold", text, { validateStream: false }) : text;
  const lines = [
    "",
    `${bold(`Tensorwire ${version}`)} listens on ${bold(url)} (ready after ${startMs} ms)`,
    "gRPC, gRPC-Web, Connect and REST, all on this port",
    ...alsoAt.map((address) => `The same on ${address}`),
    ...(page ? [`Page: ${url}/`] : []),
    "",
    ...modelLines(rows, bold),
  ];
  const callable = rows
    .flatMap(({ state }) => servingModel(state) ?? [])
    .map(({ name, signature, decoupled }) => ({ name, inputs: signature.inputs, decoupled }));
  const example = callable.toSorted(bySampleSize)[0];
  const calls = example && sampleCalls(example, url);
  if (calls) {
    const { grpcurl, curl, typescript } = calls;
    lines.push("", bold("Call it:"), "", grpcurl, "", curl, "", typescript);
  }
  lines.push("", "Stop it with Ctrl-C.", "");
  return `${lines.join("\n")}\n`;
}

/** Models on standby that are named; a repository may have thousands. */
const mostNamed = 20;

function modelLines(rows: readonly IndexRow[], bold: (text: string) => string): string[] {
  const serving = rows.flatMap(({ state }) => servingModel(state) ?? []);
  const failed = rows.flatMap(({ name, version, state }) =>
    state.kind === "failed" ? [{ name, version, why: state.error.message }] : [],
  );
  const table = serving.map(({ name, version, signature }) => [
    name,
    version,
    portsText(signature.inputs),
    portsText(signature.outputs),
  ]);
  const lines =
    table.length > 0
      ? [textTable([["MODEL", "VERSION", "INPUTS", "OUTPUTS"].map(bold), ...table], "  ")]
      : ["  No model is loaded."];
  const standby = new Set(
    rows.flatMap(({ name, state }) => (state.kind === "standby" ? [name] : [])),
  );
  if (standby.size > 0) {
    const named = [...standby].slice(0, mostNamed).join(", ");
    const more = standby.size > mostNamed ? ` and ${standby.size - mostNamed} more` : "";
    const line = `  Loaded by the first call: ${named}${more}`;
    if (table.length > 0) lines.push("", line);
    else lines.splice(0, 1, line);
  }
  if (failed.length > 0) {
    const rest = failed.map(({ name, version, why }) => [name, version, why]);
    lines.push("", textTable([["FAILED", "VERSION", "WHY"].map(bold), ...rest], "  "));
  }
  return lines;
}

/** Short calls first; one of a single number shows too little to be the first. */
function bySampleSize(a: SampleModel, b: SampleModel): number {
  const rank = (model: SampleModel): number => {
    const size = sampleSize(model);
    return size > 1 ? size : Number.MAX_SAFE_INTEGER;
  };
  return rank(a) - rank(b);
}
