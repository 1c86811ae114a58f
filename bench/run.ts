import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { arch, cpus, release, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cases } from "./cases/cases.ts";
import { type CaseResult, measureCase } from "./measure-case.ts";
import { type Options, readOptions, usage } from "./options.ts";
import { peers } from "./peers/peers.ts";
import { caseReport } from "./report.ts";

const root = fileURLToPath(new URL("..", import.meta.url));
/** Folders with the models of the cases. */
const modelFolders = [join(root, "examples", "models"), join(root, "bench", "models")];
const tools = process.env.TENSORWIRE_TOOLS ?? join(root, ".cache", "tools");

/**
 * The named ones of some cases or peers, in the order of the whole list.
 * @throws Error that names one that does not exist, and those that do
 */
function named<T extends { readonly name: string }>(
  kind: string,
  all: readonly T[],
  names: readonly string[],
): readonly T[] {
  const unknown = names.find((name) => all.every((one) => one.name !== name));
  if (unknown !== undefined) {
    const known = all.map(({ name }) => name).join(", ");
    throw new Error(`there is no ${kind} "${unknown}"; there are ${known}`);
  }
  return all.filter(({ name }) => names.includes(name));
}

/** One repository of the models alone: servers take every folder of it for a model. */
function gatherModels(folder: string): string {
  const models = join(folder, "models");
  for (const from of modelFolders) {
    for (const entry of readdirSync(from, { withFileTypes: true })) {
      if (!entry.isDirectory()) continue;
      cpSync(join(from, entry.name), join(models, entry.name), { recursive: true });
    }
  }
  return models;
}

function requireCommand(command: string, remedy: string): void {
  if (spawnSync(command, ["--version"]).error !== undefined) {
    throw new Error(`${command} is not installed; ${remedy}`);
  }
}

function requireCore(core: number): void {
  if (spawnSync("taskset", ["-c", `${core}`, "true"]).status !== 0) {
    throw new Error(`there is no core ${core}; choose with --server-core and --client-core`);
  }
}

async function runBenchmark(options: Options): Promise<void> {
  requireCommand("taskset", "it comes with util-linux");
  requireCommand("h2load", "run scripts/install-interop-tools.sh");
  requireCore(options.serverCore);
  requireCore(options.clientCore);
  const chosenCases = options.cases.length === 0 ? cases : named("case", cases, options.cases);
  const chosenPeers = named("peer", peers(options.ourFlags), options.peers);
  const present = chosenPeers.filter((peer) => {
    const why = peer.missing(tools);
    if (why !== undefined) console.error(`not measured: ${peer.name} (${why})`);
    return why === undefined;
  });

  const interrupted = new AbortController();
  process.once("SIGINT", () => interrupted.abort(new Error("interrupted")));
  process.once("SIGTERM", () => interrupted.abort(new Error("terminated")));
  const folder = mkdtempSync(join(tmpdir(), "tensorwire-bench-"));
  const results: CaseResult[] = [];
  try {
    const models = gatherModels(folder);
    for (const benchCase of chosenCases) {
      const result = await measureCase(benchCase, present, options, {
        models,
        tools,
        folder,
        signal: interrupted.signal,
        progress: (line) => console.error(line),
      });
      results.push(result);
      console.log(caseReport(result, options.format));
      if (options.json !== undefined) {
        writeFileSync(options.json, `${JSON.stringify(recordOf(options, results), null, 2)}\n`);
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const failed = results.some(({ remarks }) => remarks.some(({ kind }) => kind === "failed"));
  if (failed) process.exitCode = 1;
}

/** All figures, with what they were measured on. */
function recordOf(options: Options, results: readonly CaseResult[]) {
  return {
    date: new Date().toISOString(),
    machine: {
      processor: cpus()[0]?.model ?? "unknown",
      cores: cpus().length,
      architecture: arch(),
      kernel: release(),
      node: process.version,
    },
    options,
    results,
  };
}

try {
  const command = readOptions(process.argv.slice(2));
  switch (command.kind) {
    case "help":
      console.log(usage);
      break;
    case "list":
      for (const { name, about } of cases) console.log(`case ${name}: ${about}`);
      for (const { name, title, missing } of peers([])) {
        console.log(`peer ${name}: ${title}${missing(tools) ? ` (${missing(tools)})` : ""}`);
      }
      break;
    case "run":
      await runBenchmark(command.options);
      break;
  }
} catch (error) {
  console.error((error as Error).message);
  process.exitCode = 2;
}
