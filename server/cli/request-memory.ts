import { totalmem } from "node:os";
import { usableCores } from "../cluster/worker-count.ts";
import { MemoryBudget } from "../wire/request-memory.ts";
import type { ServeValues } from "./serve-values.ts";

/**
 * Memory that this process may have, in bytes: that of the machine, or less where its cgroup says so.
 *
 * @param constrained - what the cgroup allows; 0 if that is not known
 */
export function usableMemory(
  machine: number = totalmem(),
  constrained: number = process.constrainedMemory(),
): number {
  return constrained > 0 ? Math.min(machine, constrained) : machine;
}

/** Room for the messages of requests: what the settings say, or half of the memory, shared among the workers. */
export function requestMemory(
  values: Pick<ServeValues, "max-request-memory" | "max-message-size" | "workers">,
  memory: number = usableMemory(),
): MemoryBudget {
  const { "max-request-memory": asked, "max-message-size": largest, workers } = values;
  if (asked !== undefined) return new MemoryBudget(asked);
  const share = Math.floor(memory / 2 / (workers || usableCores()));
  // On a small machine one message of the size that was set is still taken.
  return new MemoryBudget(Math.max(share, largest));
}
