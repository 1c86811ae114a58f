import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as wait } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import type { BenchCall } from "../cases/bench-case.ts";
import { sampleCall } from "../cases/sample-call.ts";
import { freePorts } from "../free-ports.ts";
import { usageOf } from "../process-tree.ts";
import { median } from "../statistics.ts";
import { firstAnswer } from "./first-answer.ts";
import { installPackage } from "./install-package.ts";
import { type ProcessMemory, processMemory } from "./process-memory.ts";

// Measures the start of the built package, laid out as an install: from the start of
// `tensorwire serve <model>.onnx` to the answer of its first ModelInfer, which is compared with ONNX
// Runtime's in Python, and the memory of the process a while after. Linux; `npm run build` comes before.
//
//   node bench/start/start.ts [--model iris] [--runs 15] [--node PATH] [--flags "--workers 1"]

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "iris" },
    runs: { type: "string", default: "15" },
    node: { type: "string", default: process.execPath },
    flags: { type: "string", default: "" },
  },
});
const root = fileURLToPath(new URL("../../", import.meta.url));
const runs = Math.min(Math.max(Number(values.runs), 1), 1000);
/** Time after the first answer until memory is read. */
const settleMs = 1000;
const startWithinMs = 60_000;

/** One start. */
interface Start {
  readonly answerMs: number;
  readonly memory: ProcessMemory;
  /** Processor time until memory was read, of all threads. */
  readonly cpuMs: number;
}

const folder = await mkdtemp(join(tmpdir(), "tensorwire-start-"));
try {
  const command = await installPackage(root, folder);
  const model = join(root, "examples", "models", values.model, "1", "model.onnx");
  const call = sampleCall(values.model);
  const starts: Start[] = [];
  // The first start finds files that are not in memory yet, and caches that are empty.
  const first = await start(command, model, call);
  for (let run = 0; run < runs; run++) starts.push(await start(command, model, call));
  report(first, starts);
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function start(command: string, model: string, call: BenchCall): Promise<Start> {
  const [port = 0] = await freePorts(1);
  const args = [command, "serve", model, "--model-name", values.model, "--port", `${port}`];
  const flags = values.flags.split(" ").filter((flag) => flag !== "");
  const begun = performance.now();
  const child = spawn(values.node, [...args, ...flags], { stdio: ["ignore", "ignore", "inherit"] });
  try {
    const answer = await firstAnswer(port, call, AbortSignal.timeout(startWithinMs));
    const answerMs = performance.now() - begun;
    call.check(answer);
    await wait(settleMs);
    const pid = child.pid!;
    return { answerMs, memory: processMemory(pid), cpuMs: usageOf(pid).cpuMs };
  } finally {
    await end(child);
  }
}

async function end(child: ChildProcess): Promise<void> {
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
  await exited;
  clearTimeout(timer);
}

function report(first: Start, starts: readonly Start[]): void {
  const row = (name: string, unit: string, value: (start: Start) => number): string => {
    const all = starts.map(value);
    const cells = [value(first), Math.min(...all), median(all), Math.max(...all)];
    return `${`${name}, ${unit}`.padEnd(26)}${cells.map((cell) => cell.toFixed(1).padStart(9)).join("")}`;
  };
  const lines = [
    `${values.model}, ${runs} starts after the first, Node ${values.node}, flags "${values.flags}"`,
    `${"".padEnd(26)}${["first", "least", "median", "most"].map((name) => name.padStart(9)).join("")}`,
    row("first answer", "ms", ({ answerMs }) => answerMs),
    row("processor time", "ms", (each) => each.cpuMs),
    row("VmRSS", "MB", ({ memory }) => memory.rssMb),
    row("PSS", "MB", ({ memory }) => memory.pssMb),
    row("anonymous", "MB", ({ memory }) => memory.anonymousMb),
    row("peak VmHWM", "MB", ({ memory }) => memory.peakMb),
    row("threads", "", ({ memory }) => memory.threads),
  ];
  console.log(lines.join("\n"));
}
