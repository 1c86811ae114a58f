import { modelLoadTimeout, modelMemoryExceeded } from "../../errors/model-errors.ts";

/** Time between two looks at whether something that held a model is over, in ms. */
const heldLookMs = 200;

/** A model that takes memory, as the budget sees it. */
export interface Resident {
  readonly name: string;
  /** What it takes, in bytes. */
  readonly memoryBytes: number;
  /** True for one that is not to leave. */
  readonly pinned: boolean;
  /** Whether calls of it wait or run. */
  readonly busy: boolean;
  /** Whether something of it would be lost, such as the state of sequences: it stays until that is over. */
  readonly held: boolean;
  /** When it was used last, in ms; only the order counts. */
  readonly lastUsedMs: number;
  /** Until then it stays if it can, in ms on the clock of the budget. */
  readonly stayUntilMs: number;
  /** Models in memory that need this one there: they leave before it. */
  readonly holders: readonly Resident[];
  /**
   * Takes it out of memory. Its calls under way are answered first; those that come meanwhile wait until it
   * is back.
   *
   * @param signal - gives the plan up, as long as calls are under way
   */
  evict(signal: AbortSignal): Promise<void>;
}

/** Settings of a {@link MemoryBudget}. */
export interface MemoryBudgetOptions {
  readonly limitBytes: number;
  /** Models in memory, those that are about to leave included. */
  readonly residents: () => Iterable<Resident>;
  /** Time that a load may wait for memory, in ms. */
  readonly timeoutMs: number;
  /** Monotonic clock, in ms. */
  readonly now: () => number;
  /** Calls back after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
}

/**
 * Memory that models may take together. Where it does not do for one more, those that were used least recently
 * leave: first such as have no calls under way and have been there for a while, and only if there is none, one
 * whose calls are answered first.
 */
export class MemoryBudget {
  readonly limitBytes: number;
  readonly #options: MemoryBudgetOptions;

  constructor(options: MemoryBudgetOptions) {
    this.limitBytes = options.limitBytes;
    this.#options = options;
  }

  /** What the models in memory take, in bytes. */
  get usedBytes(): number {
    let bytes = 0;
    for (const { memoryBytes } of this.#options.residents()) bytes += memoryBytes;
    return bytes;
  }

  /** What is left, in bytes; below 0 if models turned out to take more. */
  get freeBytes(): number {
    return this.limitBytes - this.usedBytes;
  }

  /**
   * Makes room. Loads ask one after the other: what one was given is taken when the next one asks.
   *
   * @param model - for whose sake; what it has in memory stays
   * @param signal - gives up
   * @throws TensorwireError `MODEL_MEMORY_EXCEEDED` if there would not be enough even if all others left,
   * `MODEL_LOAD_TIMEOUT`; the signal's reason
   */
  async makeRoom(model: string, bytes: number, signal: AbortSignal): Promise<void> {
    if (bytes <= this.freeBytes) return;
    const { timeoutMs, after } = this.#options;
    const late = new AbortController();
    const cancel = after(timeoutMs, () => late.abort(modelLoadTimeout(model, timeoutMs)));
    try {
      await this.#makeRoom(model, bytes, AbortSignal.any([signal, late.signal]));
    } finally {
      cancel();
    }
  }

  async #makeRoom(model: string, bytes: number, signal: AbortSignal): Promise<void> {
    for (;;) {
      const missing = bytes - this.freeBytes;
      if (missing <= 0) return;
      signal.throwIfAborted();
      const evictable = this.#evictable(model);
      const most = evictable.reduce((sum, { memoryBytes }) => sum + memoryBytes, 0);
      if (most < missing) {
        const staying = this.usedBytes - most;
        throw modelMemoryExceeded(model, bytes, this.limitBytes, staying);
      }
      const now = this.#options.now();
      const free = evictable.filter((resident) => !isHeld(resident));
      const idle = free.filter((resident) => !isBusy(resident));
      const leaving = idle.find((resident) => stayUntil(resident) <= now);
      if (leaving) await evict(leaving, signal);
      else if (idle.length > 0) await this.#sleep(Math.min(...idle.map(stayUntil)) - now, signal);
      else if (free[0]) await evict(free[0], signal);
      else await this.#sleep(heldLookMs, signal);
    }
  }

  /** Those that may leave, the least recently used one first. */
  #evictable(model: string): Resident[] {
    const mayLeave = (resident: Resident): boolean =>
      !resident.pinned && resident.name !== model && resident.holders.every(mayLeave);
    return [...this.#options.residents()]
      .filter((resident) => resident.memoryBytes > 0 && mayLeave(resident))
      .sort((a, b) => a.lastUsedMs - b.lastUsedMs);
  }

  #sleep(ms: number, signal: AbortSignal): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const cancel = this.#options.after(Math.max(ms, 0), resolve);
    const onAbort = (): void => {
      cancel();
      resolve();
    };
    signal.addEventListener("abort", onAbort, { once: true });
    return promise.finally(() => signal.removeEventListener("abort", onAbort));
  }
}

function isBusy({ busy, holders }: Resident): boolean {
  return busy || holders.some(isBusy);
}

function isHeld({ held, holders }: Resident): boolean {
  return held || holders.some(isHeld);
}

function stayUntil({ stayUntilMs, holders }: Resident): number {
  return Math.max(stayUntilMs, ...holders.map(stayUntil));
}

async function evict(resident: Resident, signal: AbortSignal): Promise<void> {
  for (const holder of resident.holders) await evict(holder, signal);
  await resident.evict(signal);
}
