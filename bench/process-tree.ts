import { readdirSync, readFileSync } from "node:fs";

/** What a server and the processes under it use. */
export interface Usage {
  /** Time on a processor since each of them started, in ms; the clock ticks every 10 ms. */
  readonly cpuMs: number;
  /** Resident memory in bytes; pages that processes of one tree share count for each of them. */
  readonly rssBytes: number;
  readonly processes: number;
}

/** Linux shows times in these on every architecture. */
const ticksPerSecond = 100;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly ticks: number;
}

/** Reads the use of a process and all its descendants from /proc. */
export function usageOf(root: number): Usage {
  const all = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => readProcess(Number(pid)) ?? []);
  const tree = new Set([root]);
  // A child may have a smaller id than its parent, so look until nothing is added.
  for (let size = 0; size !== tree.size; ) {
    size = tree.size;
    for (const { pid, parent } of all) if (tree.has(parent)) tree.add(pid);
  }
  const members = all.filter(({ pid }) => tree.has(pid));
  return {
    cpuMs: (members.reduce((sum, { ticks }) => sum + ticks, 0) * 1000) / ticksPerSecond,
    rssBytes: members.reduce((sum, { pid }) => sum + residentBytes(pid), 0),
    processes: members.length,
  };
}

function readProcess(pid: number): Process | undefined {
  const stat = readIfAlive(`/proc/${pid}/stat`);
  if (stat === undefined) return undefined;
  // The second field is the command in parentheses and may hold spaces; see proc_pid_stat(5).
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return { pid, parent: Number(fields[1]), ticks: Number(fields[11]) + Number(fields[12]) };
}

function residentBytes(pid: number): number {
  const status = readIfAlive(`/proc/${pid}/status`) ?? "";
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0) * 1024;
}

function readIfAlive(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process ended since it was listed.
    return undefined;
  }
}
