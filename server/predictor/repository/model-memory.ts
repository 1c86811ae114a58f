import { modelLoadTimeout } from "../../errors/model-errors.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import { MemoryBudget, type Resident } from "../residency/memory-budget.ts";
import { Turns } from "../residency/turns.ts";
import { unlessAborted } from "../residency/unless-aborted.ts";
import { WaitingCalls } from "../residency/waiting-calls.ts";
import type { ServedModel } from "../served-model.ts";
import type { ModelEntry } from "./model-entry.ts";
import type { ModelLoader } from "./model-loader.ts";

/** Which models are in memory. */
export interface ModelMemoryOptions {
  /** Bytes that all models may take; 0 for any. */
  readonly limitBytes: number;
  /** Names of models that do not leave to make room. */
  readonly pinned: readonly string[];
  /** Time that a call may wait for its model, and a load for memory, in ms. */
  readonly loadTimeoutMs: number;
  /** Calls that may wait for one model. */
  readonly maxWaitingCalls: number;
  /** Monotonic clock, in ms. */
  readonly now: () => number;
  /** Calls back after a time in ms; the result cancels. */
  readonly after: (ms: number, action: () => void) => () => void;
}

/** Brings models into memory when calls need them, and takes others out of it to make room. */
export class ModelMemory {
  /** Memory that all models may take; `undefined` for any. */
  readonly budget: MemoryBudget | undefined;
  readonly #options: ModelMemoryOptions;
  readonly #models: ReadonlyMap<string, ModelEntry>;
  readonly #loader: ModelLoader;
  readonly #pinned: ReadonlySet<string>;
  readonly #turns = new Turns();

  constructor(
    options: ModelMemoryOptions,
    models: ReadonlyMap<string, ModelEntry>,
    loader: ModelLoader,
  ) {
    const { limitBytes, pinned, loadTimeoutMs: timeoutMs, now, after } = options;
    this.#options = options;
    this.#models = models;
    this.#loader = loader;
    this.#pinned = new Set(pinned);
    const residents = (): readonly Resident[] => this.#residents();
    if (limitBytes > 0)
      this.budget = new MemoryBudget({ limitBytes, residents, timeoutMs, now, after });
  }

  /** Loads that wait until others are over; one for each model that calls wait for, and those asked for by name. */
  get loadsWaiting(): number {
    return this.#turns.waiting;
  }

  /** The line of calls that wait for a model. */
  waitingCalls(model: string): WaitingCalls {
    const { maxWaitingCalls: limit, loadTimeoutMs: timeoutMs, after } = this.#options;
    const yieldTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));
    return new WaitingCalls({ model, limit, timeoutMs, after, yieldTurn });
  }

  /**
   * Loads something of a model. With a budget, loads of all models come one after the other: so each has the
   * room that was made for it, and what it takes can be seen.
   */
  async load(entry: ModelEntry, work: () => Promise<void>): Promise<void> {
    const inTurn = (): Promise<void> => entry.exclusive(work);
    await (this.budget ? this.#turns.run(inTurn) : inTurn());
  }

  /**
   * Waits until a model that is not in memory is there, and begins a call of it. However many calls wait, it
   * is loaded once; if they all give up before room was made for it, it is not.
   *
   * @param use - begins the call, in the same turn in which the model was seen to be in memory
   * @throws TensorwireError what {@link WaitingCalls.add} throws
   */
  call<T>(
    entry: ModelEntry,
    version: string,
    call: CallAbort,
    use: (model: ServedModel) => T | Promise<T>,
  ): Promise<T> {
    const answered = entry.waiting.add(version, call, use);
    if (!entry.recalling) this.#begin(entry);
    return answered;
  }

  #begin(entry: ModelEntry): void {
    if (entry.waiting.size === 0) return;
    entry.recalling = this.#recall(entry).finally(() => {
      entry.recalling = undefined;
      // Those who came after all others had given up.
      this.#begin(entry);
    });
  }

  async #recall(entry: ModelEntry): Promise<void> {
    const { waiting } = entry;
    const abandoned = new AbortController();
    waiting.onAbandoned = () => abandoned.abort(modelLoadTimeout(entry.name, 0));
    const recallAndBegin = async (): Promise<void> => {
      if (waiting.size === 0) return;
      await entry.exclusive(() => this.#loader.recall(entry, abandoned.signal));
      await waiting.begin((version) => entry.resolve(version));
    };
    try {
      // The calls begin within the turn: no other model's load takes this one away before.
      await (this.budget ? this.#turns.run(recallAndBegin) : recallAndBegin());
    } catch (error) {
      if (!abandoned.signal.aborted) waiting.fail(error);
    } finally {
      waiting.onAbandoned = undefined;
    }
  }

  #residents(): readonly Resident[] {
    const residents: Resident[] = [];
    for (const entry of this.#models.values()) {
      if (!entry.inMemory().next().done) residents.push(this.#resident(entry));
    }
    return residents;
  }

  #resident(entry: ModelEntry): Resident {
    let memoryBytes = 0;
    let busy = false;
    let held = false;
    let lastUsedMs = entry.loadedMs;
    for (const { executor, statistics } of entry.inMemory()) {
      memoryBytes += executor.memoryBytes;
      held ||= (executor.sequences?.active ?? 0) > 0;
      busy ||= executor.running > 0 || executor.waiting > 0;
      lastUsedMs = Math.max(lastUsedMs, statistics.lastInferenceMs);
    }
    const { name, stayUntilMs } = entry;
    return {
      name,
      memoryBytes,
      // What an ensemble that is on its way in has loaded already stays for it.
      pinned: this.#pinned.has(name) || entry.pending !== undefined,
      busy,
      held,
      lastUsedMs,
      stayUntilMs,
      holders: this.#holders(entry),
      // An unload that is under way is waited for no longer than for calls.
      evict: (signal) =>
        unlessAborted(
          entry.exclusive(() => this.#loader.evict(entry, signal)),
          signal,
        ),
    };
  }

  /** Ensembles that a model is part of. */
  #holders({ name }: ModelEntry): Resident[] {
    const holders: Resident[] = [];
    for (const entry of this.#models.values()) {
      const holds =
        entry.pending?.steps.includes(name) || (entry.isLoaded && entry.steps.includes(name));
      if (holds) holders.push(this.#resident(entry));
    }
    return holders;
  }
}
