import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

/**
 * Processor cores that this process may use: those of its affinity, and no more than the quota of its
 * cgroup, rounded up (cgroup v2, `cpu.max`: quota and period in us).
 *
 * @param readText - reads a file; throws if it is not there
 */
export function usableCores(
  cores: number = availableParallelism(),
  readText: (path: string) => string = (path) => readFileSync(path, "utf8"),
): number {
  let text: string;
  try {
    text = readText("/sys/fs/cgroup/cpu.max");
  } catch {
    // No cgroup v2, or its root, which has no quota.
    return cores;
  }
  const [quota, period] = text.trim().split(/\s+/).map(Number);
  if (!(quota! > 0 && period! > 0)) return cores;
  return Math.max(1, Math.min(cores, Math.ceil(quota! / period!)));
}
