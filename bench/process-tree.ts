import { readdirSync, readFileSync } from "node:fs";

/** What a server and the processes under it use. */
export interface Usage {
  /** Time on a processor since each of them started, in ms; the clock ticks every 10 ms. */
  readonly cpuMs: number;
  /**
   * Resident memory in bytes: what each process has alone, and the largest part that one of them
   * shares with others. The plain sum counts a library once for each process that loads it.
   */
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
  const memory = members.flatMap(({ pid }) => readMemory(pid) ?? []);
  return {
    cpuMs: (members.reduce((sum, { ticks }) => sum + ticks, 0) * 1000) / ticksPerSecond,
    rssBytes:
      memory.reduce((sum, { alone }) => sum + alone, 0) +
      memory.reduce((largest, { shared }) => Math.max(largest, shared), 0),
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

function readMemory(pid: number): { alone: number; shared: number } | undefined {
  const rollup = readIfAlive(`/proc/${pid}/smaps_rollup`);
  if (rollup === undefined) return undefined;
  const bytes = (key: string) =>
    Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(rollup)?.[1] ?? 0) * 1024;
  return {
    alone: bytes("Private_Clean") + bytes("Private_Dirty"),
    shared: bytes("Shared_Clean") + bytes("Shared_Dirty"),
  };
}

function readIfAlive(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    // The process ended since it was listed.
    return undefined;
  }
}
