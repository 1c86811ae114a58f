import { readFileSync } from "node:fs";

/** Memory of a process as the kernel counts it, in MB of 10^6 bytes. */
export interface ProcessMemory {
  /** Resident, pages shared with other processes included. */
  readonly rssMb: number;
  /** Resident, each shared page divided by the processes that have it. */
  readonly pssMb: number;
  /** The most that was resident so far. */
  readonly peakMb: number;
  /** Part of the resident memory that is no file: heaps, stacks, what libraries allocate. */
  readonly anonymousMb: number;
  readonly threads: number;
}

/** Reads the memory of a process from /proc, which Linux alone has. */
export function processMemory(pid: number): ProcessMemory {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, "utf8");
  const megabytes = (text: string, key: string): number =>
    (Number(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m").exec(text)?.[1]) * 1024) / 1e6;
  return {
    rssMb: megabytes(status, "VmRSS"),
    pssMb: megabytes(rollup, "Pss"),
    peakMb: megabytes(status, "VmHWM"),
    anonymousMb: megabytes(rollup, "Anonymous"),
    threads: Number(/^Threads:\s+(\d+)$/m.exec(status)?.[1]),
  };
}
