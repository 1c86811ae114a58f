import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { modelNotFound } from "../../errors/model-errors.ts";
import type { Log } from "../../observability/log.ts";
import type { CallAbort } from "../../rpc/call-context.ts";
import type { Executor } from "../executor.ts";
import type { ServedModel } from "../served-model.ts";
import { followFolders, type NewModels } from "./follow-folders.ts";
import type { LoadPlan } from "./load-plan.ts";
import type { LoadContext } from "./load-version.ts";
import { foretellBytes } from "./model-bytes.ts";
import { type IndexRow, ModelEntry, type ReadinessListener } from "./model-entry.ts";
import { ModelLoader } from "./model-loader.ts";
import { ModelMemory, type ModelMemoryOptions } from "./model-memory.ts";
import { checkModelName, checkVersion } from "./model-name.ts";
import { type ModelFolder, scanRepositories } from "./scan.ts";
import { SettledFiles } from "./settled-files.ts";
import { storeUpload, type UploadedModel } from "./uploaded-model.ts";
import {
  answersCalls,
  knownModel,
  modelInMemory,
  type RestingModel,
  unloaded,
} from "./version-state.ts";

/** What a load may bring with it. */
export interface LoadRequest {
  /** In place of the model's config.pbtxt. */
  readonly config?: ModelConfig | undefined;
  /** In place of the model's folder: contents by path within it, `<version>/<file>`. */
  readonly files?: ReadonlyMap<string, Uint8Array> | undefined;
}

/** Settings of a repository. */
export interface RepositoryOptions extends Omit<LoadContext, "resolve"> {
  readonly paths: readonly string[];
  /** Name of a single model; by default that of its file or folder. */
  readonly modelName: string | undefined;
  readonly memory: ModelMemoryOptions;
}

/**
 * The models of one or more repository folders, and which versions of them are loaded. New versions
 * become ready before old ones leave; a version that fails to load leaves the old one serving.
 */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #loader: ModelLoader;
  readonly #memory: ModelMemory;
  readonly #log: Log;
  readonly #models = new Map<string, ModelEntry>();
  readonly #listeners = new Set<ReadinessListener>();
  readonly #files = new SettledFiles();

  constructor(options: RepositoryOptions) {
    this.#options = options;
    const resolve: LoadContext["resolve"] = (name, version) => this.resolve(name, version);
    const models = this.#models;
    this.#loader = new ModelLoader({
      models,
      context: { ...options, resolve },
      budget: () => this.#memory.budget,
      now: options.memory.now,
    });
    this.#memory = new ModelMemory(options.memory, models, this.#loader);
    this.#log = options.log;
  }

  /** Adds a listener for models that become ready or stop being so. */
  onReadiness(listener: ReadinessListener): void {
    this.#listeners.add(listener);
  }

  /**
   * Reads which models there are, without loading any. Models whose folder went stay listed while a
   * version of them is loaded.
   *
   * @throws TensorwireError `REPOSITORY_UNREADABLE`
   */
  async scan(): Promise<readonly string[]> {
    const folders = await this.#scanFolders();
    const names = new Set(folders.map(({ name }) => name));
    for (const folder of folders) {
      const entry = this.#models.get(folder.name);
      if (!entry) this.#add(folder);
      else if (!entry.upload) entry.folder = folder;
    }
    for (const [name, entry] of this.#models) {
      if (!names.has(name) && !entry.upload && !entry.isLoaded && !entry.isUnderWay) {
        this.#remove(entry);
      }
    }
    return [...names];
  }

  /**
   * Loads models that {@link scan} found, all at once; a model that fails does not stop the others.
   *
   * @param room - `make`: others leave if there is not enough memory; `free`: what does not fit goes on standby
   * @returns the failures
   */
  async loadAll(
    names: readonly string[],
    room: "make" | "free" = "make",
  ): Promise<readonly unknown[]> {
    // Every load is in its model's queue before one begins: an ensemble sees that its models are on the way.
    const loads = names.map((name) => {
      const entry = this.#entry(name);
      return this.#memory.load(entry, async () => {
        // The load of an ensemble has brought it in.
        if (entry.isLoaded) return;
        const plan = await this.#loader.plan(entry, undefined);
        if (room === "make" || (await this.#fits(entry, plan))) {
          await this.#loader.load(entry, plan);
        } else this.#loader.standBy(entry, plan);
      });
    });
    return failuresOf(await Promise.allSettled(loads));
  }

  /**
   * Puts models that {@link scan} found on standby: the first call loads them.
   *
   * @returns the failures, of configurations
   */
  async standByAll(names: readonly string[]): Promise<readonly unknown[]> {
    const plans = names.map(async (name) => {
      const entry = this.#entry(name);
      await entry.exclusive(async () => {
        this.#loader.standBy(entry, await this.#loader.plan(entry, undefined));
      });
    });
    return failuresOf(await Promise.allSettled(plans));
  }

  /**
   * Loads a model, or loads it again: the versions that its policy selects become ready, then those
   * that it no longer selects leave. The models of an ensemble are loaded before it.
   *
   * @throws TensorwireError `MODEL_NOT_FOUND`, `MODEL_NAME_INVALID`, `PARAMETER_INVALID` for files without
   * a configuration or outside the model's folder, `MODEL_MEMORY_EXCEEDED`, `MODEL_LOAD_TIMEOUT`, or why the
   * first version failed
   */
  async load(name: string, { config, files }: LoadRequest = {}): Promise<void> {
    checkModelName(name);
    if (files) {
      await this.#loadUpload(name, await storeUpload(name, config, files), config);
      return;
    }
    await this.scan();
    const entry = this.#entry(name);
    await this.#memory.load(entry, async () => {
      const { upload } = entry;
      if (upload) {
        // Back to the repository's own files.
        const folder = (await this.#scanFolders()).find((each) => each.name === name);
        if (!folder) throw modelNotFound(name);
        entry.upload = undefined;
        entry.folder = folder;
      }
      await this.#loader.load(entry, await this.#loader.plan(entry, config));
      await upload?.remove();
    });
  }

  /**
   * Unloads all versions of a model; calls under way are answered first.
   *
   * @param withSteps - unloads the models of an ensemble too, save those that another loaded ensemble has
   * @throws TensorwireError `MODEL_NOT_FOUND`, `MODEL_NAME_INVALID`
   */
  async unload(name: string, withSteps = false): Promise<void> {
    checkModelName(name);
    const entry = this.#entry(name);
    await entry.exclusive(async () => {
      entry.failure = undefined;
      entry.fingerprint = "";
      entry.recall = undefined;
      await Promise.all(entry.versions.map((version) => this.#loader.retire(entry, version)));
      await entry.upload?.remove();
      entry.upload = undefined;
    });
    if (!withSteps) return;
    const inUse = new Set(
      [...this.#models.values()].flatMap(({ isAvailable, steps }) =>
        isAvailable ? [...steps] : [],
      ),
    );
    for (const step of entry.steps) {
      if (!inUse.has(step) && this.#models.has(step)) await this.unload(step, true);
    }
  }

  /** Compares the folders with what is loaded: {@link followFolders}. */
  async poll(newModels: NewModels = "load"): Promise<void> {
    const present = new Set(await this.scan());
    await followFolders(this.#models.values(), {
      present,
      newModels,
      files: this.#files,
      loader: this.#loader,
      load: (name) => this.load(name),
      remove: async (entry) => {
        await this.unload(entry.name);
        this.#remove(entry);
      },
      log: this.#log,
    });
  }

  /**
   * The version in memory that a request means.
   *
   * @param version - empty for the newest
   * @throws TensorwireError `MODEL_VERSION_INVALID`, `MODEL_NOT_FOUND`, `MODEL_NOT_LOADED`,
   * `MODEL_VERSION_NOT_FOUND`, `MODEL_NOT_READY`, `MODEL_LOAD_FAILED`
   */
  resolve(name: string, version: string): ServedModel {
    this.#checkVersion(name, version);
    return this.#entry(name).resolve(version);
  }

  /**
   * The version in memory that a request means; `undefined` if {@link recall} brings it there.
   *
   * @param version - empty for the newest
   * @throws TensorwireError as {@link resolve}
   */
  find(name: string, version: string): ServedModel | undefined {
    if (version !== "") this.#checkVersion(name, version);
    const entry = this.#entry(name);
    const model = entry.serving(version);
    if (model) return model;
    return entry.isOnDemand(version, this.#options.memory.now())
      ? undefined
      : entry.resolve(version);
  }

  /**
   * Begins a call when its model, which {@link find} did not find in memory, is there.
   *
   * @param use - begins the call, in the same turn in which the model was seen to be in memory
   * @throws TensorwireError `QUEUE_FULL`, `MODEL_LOAD_TIMEOUT`, `DEADLINE_EXCEEDED`, `CALL_CANCELLED`, why
   * the model did not load, or what `use` throws
   */
  recall<T>(
    name: string,
    version: string,
    call: CallAbort,
    use: (model: ServedModel) => T | Promise<T>,
  ): Promise<T> {
    return this.#memory.call(this.#entry(name), version, call, use);
  }

  /**
   * What is known of the version that a request means, without bringing it into memory if it was there before.
   *
   * @throws TensorwireError as {@link find} and {@link recall}
   */
  async describe(name: string, version: string, call: CallAbort): Promise<RestingModel> {
    const model = this.find(name, version);
    if (model) return model;
    const entry = this.#entry(name);
    const newest = entry.availableVersions.at(-1) ?? "";
    const state = entry.state(version === "" ? newest : version);
    return (state && knownModel(state)) ?? this.recall(name, version, call, (loaded) => loaded);
  }

  /**
   * Whether calls of a version are answered, be it once it is back in memory.
   *
   * @param version - empty for any
   * @throws TensorwireError `MODEL_VERSION_INVALID`, `MODEL_NOT_FOUND`
   */
  answers(name: string, version: string): boolean {
    this.#checkVersion(name, version);
    const entry = this.#entry(name);
    if (version === "") return entry.isAvailable;
    const state = entry.state(version);
    return state !== undefined && answersCalls(state);
  }

  /**
   * Versions of a model that answer calls, be it once they are back in memory, in rising order; none for an
   * unknown model.
   */
  availableVersions(name: string): string[] {
    return this.#models.get(name)?.availableVersions ?? [];
  }

  /** What computes the calls of a version; `undefined` if it is not in memory. */
  executorOf({ name, version }: Pick<RestingModel, "name" | "version">): Executor | undefined {
    const state = this.#models.get(name)?.state(version);
    return state && modelInMemory(state)?.executor;
  }

  /** Memory that models may take, in bytes; 0 for any. */
  get memoryLimitBytes(): number {
    return this.#options.memory.limitBytes;
  }

  /** Loads that wait until others are over, with a limit of memory. */
  get loadsWaiting(): number {
    return this.#memory.loadsWaiting;
  }

  /** All models. */
  entries(): Iterable<ModelEntry> {
    return this.#models.values();
  }

  /** All versions that are in memory and answer calls. */
  *served(): Generator<ServedModel> {
    for (const entry of this.#models.values()) yield* entry.served();
  }

  /** All versions that were in memory and answer calls, be it once they are back there. */
  *known(): Generator<RestingModel> {
    for (const entry of this.#models.values()) yield* entry.known();
  }

  /** Every model and version with its state, by name and version. */
  index(): IndexRow[] {
    const entries = [...this.#models.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    return entries.flatMap((entry) => entry.rows());
  }

  /** Unloads everything. */
  async close(): Promise<void> {
    await Promise.all([...this.#models.keys()].map((name) => this.unload(name)));
  }

  #scanFolders(): Promise<ModelFolder[]> {
    return scanRepositories(this.#options.paths, this.#options.modelName);
  }

  /** Loads a model from files that came with the request; what it replaces goes when it is ready. */
  async #loadUpload(
    name: string,
    upload: UploadedModel,
    config: ModelConfig | undefined,
  ): Promise<void> {
    const model = this.#models.get(name) ?? this.#add(upload.folder);
    await this.#memory.load(model, async () => {
      const before = { upload: model.upload, folder: model.folder };
      model.upload = upload;
      model.folder = upload.folder;
      try {
        await this.#loader.load(model, await this.#loader.plan(model, config));
        await before.upload?.remove();
      } catch (error) {
        model.upload = before.upload;
        model.folder = before.folder;
        await upload.remove();
        throw error;
      }
    });
  }

  /** Versions are positive integers, unless MLServer's settings call one otherwise. */
  #checkVersion(name: string, version: string): void {
    if (!this.#models.get(name)?.state(version)) checkVersion(name, version);
  }

  #entry(name: string): ModelEntry {
    const entry = this.#models.get(name);
    if (!entry) throw modelNotFound(name);
    return entry;
  }

  /** Whether there is memory for a model without taking that of others. */
  async #fits(
    { folder, measured }: ModelEntry,
    { versions, steps, config }: LoadPlan,
  ): Promise<boolean> {
    const { budget } = this.#memory;
    if (!budget) return true;
    if (!steps.every((step) => this.#models.get(step)?.isLoaded)) return false;
    let bytes = 0;
    for (const version of versions) {
      bytes += measured.get(version) ?? (await foretellBytes(folder, version, config)).likely;
    }
    // One that is larger than all of it is refused by its load.
    return bytes <= budget.freeBytes || bytes > budget.limitBytes;
  }

  #remove(entry: ModelEntry): void {
    const { name, waiting } = entry;
    // Whoever follows its readiness hears of its end.
    for (const version of entry.versions) entry.set(version, unloaded);
    this.#models.delete(name);
    this.#files.forget(name);
    waiting.fail(modelNotFound(name));
  }

  #add(folder: ModelFolder): ModelEntry {
    const waiting = this.#memory.waitingCalls(folder.name);
    const entry = new ModelEntry(folder, waiting, (model, ready) => {
      for (const listener of this.#listeners) listener(model, ready);
    });
    this.#models.set(folder.name, entry);
    return entry;
  }
}

function failuresOf(results: readonly PromiseSettledResult<void>[]): unknown[] {
  return results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
}
