import type { Program } from "./program.ts";

/** Variable by which glibc takes the size from which on freed memory goes back to the system at once. */
const variable = "MALLOC_MMAP_THRESHOLD_";

/**
 * Below this size, in bytes, freed memory is kept for what is allocated next. Tensors of calls are mostly
 * smaller, and asking the system for each would cost; weights are mostly larger.
 */
const threshold = 1024 * 1024;

/**
 * Starts the program again in its own place, with an allocator that gives the memory of models back when they
 * are unloaded: by default glibc keeps up to 32 MiB of each freed block, so that a limit on the memory of
 * models would be one on paper. Returns where that is done already or cannot be.
 */
export function returnFreedMemory({ env, restart }: Pick<Program, "env" | "restart">): void {
  if (process.platform !== "linux" || env[variable] !== undefined) return;
  restart?.({ ...env, [variable]: `${threshold}` });
}
