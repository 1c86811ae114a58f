import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { runtimeBuild } from "./runtime-build.ts";
import type { SessionSettings } from "./session-settings.ts";

let processor: string | undefined;

/**
 * Names the graph that ONNX Runtime makes of a model: it follows from the model as the session gets it,
 * the version, the level, how the graph is run, and the instructions of the processor, for which it lays
 * out the weights of convolutions.
 *
 * @param contents - hash of the model, as it is adapted
 * @returns 64 hexadecimal digits
 */
export function graphKey(contents: string, settings: SessionSettings): string {
  processor ??= processorText();
  const made = [
    runtimeBuild().version,
    settings.graphLevel,
    settings.executionMode,
    process.platform,
    process.arch,
    processor,
    contents,
  ];
  return createHash("sha256").update(JSON.stringify(made)).digest("hex");
}

/** What the processor can do; on Linux its instruction sets, else its name. */
function processorText(): string {
  try {
    const text = readFileSync("/proc/cpuinfo", "utf8");
    const line = /^(?:flags|Features)\s*:.*$/m.exec(text)?.[0];
    if (line !== undefined) return line;
  } catch {
    // No Linux.
  }
  return cpus()[0]?.model ?? "";
}
