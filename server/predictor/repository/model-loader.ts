import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../../errors/from-unknown.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { Log } from "../../observability/log.ts";
import type { MemoryBudget } from "../residency/memory-budget.ts";
import { unlessAborted } from "../residency/unless-aborted.ts";
import { type LoadPlan, readPlan } from "./load-plan.ts";
import type { LoadContext } from "./load-version.ts";
import { loadWithin } from "./load-within.ts";
import type { ModelEntry } from "./model-entry.ts";
import { failedRecall, untried } from "./recall.ts";
import { fingerprint } from "./scan.ts";
import {
  knownModel,
  loading,
  modelInMemory,
  restingModel,
  servingModel,
  unloaded,
  type VersionState,
} from "./version-state.ts";

/** What a loader works on. */
export interface ModelLoaderOptions {
  /** Of the repository, where an ensemble finds its own. */
  readonly models: ReadonlyMap<string, ModelEntry>;
  readonly context: LoadContext;
  /** Memory that all models may take; `undefined` for any. */
  readonly budget: () => MemoryBudget | undefined;
  /** Monotonic clock, in ms. */
  readonly now: () => number;
}

/** Longest time for which a model stays because its load took long, in ms. */
const longestStayMs = 10_000;

const never: AbortSignal = new AbortController().signal;

/**
 * Brings models into memory and out of it, one after the other for each: call it within
 * {@link ModelEntry.exclusive}. With a budget, loads of all models come one after the other too.
 */
export class ModelLoader {
  readonly #models: ReadonlyMap<string, ModelEntry>;
  readonly #context: LoadContext;
  readonly #budget: () => MemoryBudget | undefined;
  readonly #now: () => number;
  readonly #log: Log;

  constructor({ models, context, budget, now }: ModelLoaderOptions) {
    this.#models = models;
    this.#context = context;
    this.#budget = budget;
    this.#now = now;
    this.#log = context.log;
  }

  /**
   * Reads what is to be loaded: the configuration, and the versions that it selects.
   *
   * @param override - in place of config.pbtxt
   * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_LOAD_FAILED`; the entry keeps it as its failure
   */
  async plan(entry: ModelEntry, override: ModelConfig | undefined): Promise<LoadPlan> {
    try {
      const now = await fingerprint(entry.folder);
      if (now !== entry.fingerprint) entry.measured.clear();
      entry.fingerprint = now;
      const plan = await readPlan(entry.folder, override);
      entry.failure = undefined;
      return plan;
    } catch (error) {
      throw this.#fail(entry, error);
    }
  }

  /**
   * Loads the versions of a plan, then unloads the others. The models of an ensemble are loaded before it. If a
   * version fails, all that served before serve on, beside those of the new ones that do not fail.
   *
   * @param signal - gives up as long as it waits for memory
   * @throws TensorwireError why the steps, or the first version, failed
   */
  async load(entry: ModelEntry, plan: LoadPlan, signal: AbortSignal = never): Promise<void> {
    entry.pending = plan;
    try {
      await this.#loadSteps(entry, plan, signal);
      entry.failure = undefined;
    } catch (error) {
      entry.pending = undefined;
      throw signal.aborted ? error : this.#fail(entry, error);
    }
    try {
      const errors = await this.#loadVersions(entry, plan, signal);
      const [failure] = errors;
      if (errors.length === plan.versions.length) throw failure;
      entry.plan = plan;
      entry.recall = undefined;
      // A version that is broken takes nobody's place.
      if (failure) throw failure;
      for (const version of entry.versions) {
        if (!plan.versions.includes(version)) await this.retire(entry, version);
      }
    } finally {
      entry.pending = undefined;
    }
  }

  /** Puts a model on standby: the next call loads it. What is in memory of it stays there. */
  standBy(entry: ModelEntry, plan: LoadPlan): void {
    entry.recall = untried(plan);
    for (const version of plan.versions) {
      const before = entry.state(version);
      if (!before || !modelInMemory(before)) entry.set(version, standby(before));
    }
  }

  /**
   * Loads a model that is on standby; a model that is in memory by now is left alone.
   *
   * @throws TensorwireError as {@link load}; calls get it for a while, then the next one tries again
   */
  async recall(entry: ModelEntry, signal: AbortSignal): Promise<void> {
    const { recall } = entry;
    if (!recall || entry.isLoaded) return;
    entry.recalls++;
    try {
      await this.load(entry, recall.plan, signal);
    } catch (error) {
      // A version of several that fails shows in the index; the others serve.
      if (entry.isLoaded) return;
      if (signal.aborted) throw error;
      const before = recall.before && (await this.#loadBefore(entry, recall.before, signal));
      for (const version of recall.plan.versions) {
        const serves = [...entry.served()].some((model) => model.version === version);
        if (!serves) entry.set(version, { kind: "failed", error: fromUnknown(error) });
      }
      if (before) return;
      entry.recall = failedRecall(recall, this.#now());
      throw error;
    }
  }

  /**
   * Takes a model out of memory, to be back with the next call. Its calls under way are answered first.
   *
   * @param signal - gives up as long as calls are under way
   * @throws the signal's reason; the model serves on
   */
  async evict(entry: ModelEntry, signal: AbortSignal): Promise<void> {
    const { plan } = entry;
    const models = [...entry.served()];
    if (!plan || models.length === 0) return;
    const before = new Map(models.map(({ version }) => [version, entry.state(version)!]));
    const versions = models.map(({ version }) => version);
    entry.recall = untried({ ...plan, versions });
    for (const model of models) entry.set(model.version, { kind: "evicting", model });
    try {
      await unlessAborted(Promise.all(models.map(({ executor }) => executor.idle())), signal);
    } catch (error) {
      for (const [version, state] of before) entry.set(version, state);
      entry.recall = undefined;
      throw error;
    }
    for (const model of models) {
      try {
        await model.executor.release();
      } finally {
        // One that could not be released, as its thread is gone, holds nothing any more.
        entry.set(model.version, { kind: "standby", last: restingModel(model) });
      }
    }
    entry.evictions++;
    this.#log.info({ model: entry.name, versions }, "a model made room for another");
  }

  /** Unloads a version; its calls under way are answered first. */
  async retire(entry: ModelEntry, version: string): Promise<void> {
    const state = entry.state(version);
    const model = state && servingModel(state);
    if (model) {
      entry.set(version, { kind: "unloading", model });
      await model.retire();
      this.#log.info({ model: entry.name, version }, "unloaded a model");
    }
    entry.set(version, unloaded);
  }

  #fail(entry: ModelEntry, thrown: unknown): TensorwireError {
    const error = fromUnknown(thrown);
    entry.failure = error;
    this.#log.error(
      { model: entry.name, reason: error.reason, why: error.message },
      "a model failed to load",
    );
    return error;
  }

  /** Whether what served before the files changed could be loaded. */
  async #loadBefore(entry: ModelEntry, plan: LoadPlan, signal: AbortSignal): Promise<boolean> {
    try {
      await this.load(entry, plan, signal);
    } catch {
      // Logged; what counts is why the new files failed.
    }
    return entry.isLoaded;
  }

  /**
   * Sees to it that the models of an ensemble are in memory.
   *
   * @throws TensorwireError `MODEL_CONFIG_INVALID` for a model that is not there, or if they wait for each
   * other; why a model failed
   */
  async #loadSteps(entry: ModelEntry, plan: LoadPlan, signal: AbortSignal): Promise<void> {
    const { name } = entry;
    for (const step of plan.steps) {
      const needed = this.#models.get(step);
      if (!needed) {
        throw modelConfigInvalid(name, `has a step "${step}", which is not in the repository`);
      }
      if (step === name || this.#waits(step, name)) {
        throw modelConfigInvalid(name, `has a step "${step}" that is made of "${name}" itself`);
      }
      entry.waitsFor.add(step);
      try {
        await needed.settled;
        if (needed.isLoaded) continue;
        if (needed.failure) throw needed.failure;
        await needed.exclusive(async () => {
          if (needed.recall) await this.recall(needed, signal);
          else await this.load(needed, await this.plan(needed, undefined), signal);
        });
      } finally {
        entry.waitsFor.delete(step);
      }
    }
  }

  /** Whether the load of a model waits for that of another, by itself or through others. */
  #waits(model: string, other: string): boolean {
    for (const next of this.#models.get(model)?.waitsFor ?? []) {
      if (next === other || this.#waits(next, other)) return true;
    }
    return false;
  }

  /** Loads the versions of a plan, and gives the errors of those that failed. */
  async #loadVersions(entry: ModelEntry, plan: LoadPlan, signal: AbortSignal): Promise<unknown[]> {
    const { versions } = plan;
    const load = (version: string): Promise<unknown> =>
      this.#loadVersion(entry, version, plan, signal);
    let results: unknown[] = [];
    if (this.#budget()) for (const version of versions) results.push(await load(version));
    else results = await Promise.all(versions.map(load));
    return results.filter((error) => error !== undefined);
  }

  /** Loads one version and swaps it in; gives the error instead of throwing it. */
  async #loadVersion(
    entry: ModelEntry,
    version: string,
    plan: LoadPlan,
    signal: AbortSignal,
  ): Promise<unknown> {
    const { name } = entry;
    const before = entry.state(version);
    const old = before && servingModel(before);
    if (!old) entry.set(version, entry.recall ? recalling(before) : loading);
    const started = this.#now();
    try {
      const model = await loadWithin(this.#budget(), entry, version, plan, this.#context, signal);
      const now = this.#now();
      entry.set(version, { kind: "ready", model });
      entry.measured.set(version, model.executor.memoryBytes);
      entry.loadedMs = Date.now();
      entry.stayUntilMs = now + Math.min(now - started, longestStayMs);
      const ms = Math.round(now - started);
      const { placement, memoryBytes } = model.executor;
      this.#log.info({ model: name, version, placement, memoryBytes, ms }, "loaded a model");
      await old?.retire();
      return undefined;
    } catch (thrown) {
      if (signal.aborted && !old && entry.recall) {
        entry.set(version, standby(before));
        return thrown;
      }
      const error = fromUnknown(thrown);
      entry.set(version, { kind: "failed", error, ...(old ? { model: old } : {}) });
      this.#log.error(
        { model: name, version, reason: error.reason, why: error.message, err: error.cause },
        "a model failed to load",
      );
      return error;
    }
  }
}

function standby(before: VersionState | undefined): VersionState {
  const last = before && knownModel(before);
  return { kind: "standby", ...(last ? { last } : {}) };
}

function recalling(before: VersionState | undefined): VersionState {
  const last = before && knownModel(before);
  return { kind: "recalling", ...(last ? { last } : {}) };
}
