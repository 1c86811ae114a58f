import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../../errors/from-unknown.ts";
import {
  modelLoadFailed,
  modelNotFound,
  modelNotLoaded,
  modelNotReady,
  modelVersionNotFound,
} from "../../errors/model-errors.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { Log } from "../../observability/log.ts";
import { readConfigFile } from "../model-config/read-config.ts";
import type { ServedModel } from "../served-model.ts";
import { type LoadContext, loadVersion } from "./load-version.ts";
import { checkModelName, checkVersion, compareVersions } from "./model-name.ts";
import { fingerprint, type ModelFolder, scanRepositories } from "./scan.ts";
import { selectVersions } from "./select-versions.ts";

/** Life of one model version. */
export type VersionState =
  | { readonly kind: "loading" }
  | { readonly kind: "ready"; readonly model: ServedModel }
  /** `model` still serves if it is there: a newer load failed and the old one stayed. */
  | { readonly kind: "failed"; readonly error: TensorwireError; readonly model?: ServedModel }
  | { readonly kind: "unloading" }
  | { readonly kind: "unloaded" };

const loading: VersionState = { kind: "loading" };
const unloading: VersionState = { kind: "unloading" };
const unloaded: VersionState = { kind: "unloaded" };

/** A row of the repository's index. */
export interface IndexRow {
  readonly name: string;
  /** Empty for a model of which no version was ever asked for. */
  readonly version: string;
  readonly state: VersionState;
}

/** Called when a model starts or stops being ready. */
export type ReadinessListener = (model: string, ready: boolean) => void;

interface ModelEntry {
  folder: ModelFolder;
  readonly versions: Map<string, VersionState>;
  /** Loads and unloads of one model happen one after the other. */
  busy: Promise<void>;
  /** Of the files that were loaded last, for polling. */
  fingerprint: string;
  /** A failure that belongs to no version: the configuration, or a folder without versions. */
  failure: TensorwireError | undefined;
}

/** Settings of a repository. */
export interface RepositoryOptions extends LoadContext {
  readonly paths: readonly string[];
  /** Name of a single model; by default that of its file or folder. */
  readonly modelName: string | undefined;
}

/**
 * The models of one or more repository folders, and which versions of them are loaded. New versions
 * become ready before old ones leave; a version that fails to load leaves the old one serving.
 */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #log: Log;
  readonly #models = new Map<string, ModelEntry>();
  readonly #listeners = new Set<ReadinessListener>();
  /** Fingerprints seen by the last poll, of models whose files differ from what is loaded. */
  readonly #changing = new Map<string, string>();

  constructor(options: RepositoryOptions) {
    this.#options = options;
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
    const folders = await scanRepositories(this.#options.paths, this.#options.modelName);
    const names = new Set(folders.map(({ name }) => name));
    for (const folder of folders) {
      const entry = this.#models.get(folder.name);
      if (entry) entry.folder = folder;
      else {
        this.#models.set(folder.name, {
          folder,
          versions: new Map(),
          busy: Promise.resolve(),
          fingerprint: "",
          failure: undefined,
        });
      }
    }
    for (const [name, entry] of this.#models) {
      if (!names.has(name) && !isLoaded(entry)) this.#models.delete(name);
    }
    return [...names];
  }

  /**
   * Loads a model, or loads it again: the versions that its policy selects become ready, then those
   * that it no longer selects leave.
   *
   * @param override - a configuration in place of the file
   * @throws TensorwireError `MODEL_NOT_FOUND`, `MODEL_NAME_INVALID`, or why the first version failed
   */
  async load(name: string, override?: ModelConfig): Promise<void> {
    checkModelName(name);
    await this.scan();
    const entry = this.#entry(name);
    await this.#exclusive(entry, () => this.#load(name, entry, override));
  }

  /**
   * Unloads all versions of a model; calls under way are answered first.
   *
   * @throws TensorwireError `MODEL_NOT_FOUND`, `MODEL_NAME_INVALID`
   */
  async unload(name: string): Promise<void> {
    checkModelName(name);
    const entry = this.#entry(name);
    await this.#exclusive(entry, async () => {
      entry.failure = undefined;
      entry.fingerprint = "";
      await Promise.all(
        [...entry.versions.keys()].map((version) => this.#retire(name, entry, version)),
      );
    });
  }

  /**
   * Compares the folders with what is loaded: new models are loaded, changed ones loaded again, those
   * whose folder went unloaded. A change counts once two polls in a row see the same files, so that a
   * copy in progress is left alone. Failures are logged and show in the index.
   */
  async poll(): Promise<void> {
    const present = new Set(await this.scan());
    for (const [name, entry] of this.#models) {
      if (!present.has(name)) {
        this.#log.info({ model: name }, "the model's folder went; it is unloaded");
        await this.unload(name);
        this.#models.delete(name);
        continue;
      }
      const now = await fingerprint(entry.folder);
      if (now === entry.fingerprint) this.#changing.delete(name);
      else if (this.#changing.get(name) !== now) this.#changing.set(name, now);
      else {
        this.#changing.delete(name);
        await this.load(name).catch(() => {
          // #load has logged it, and the index shows it.
        });
      }
    }
  }

  /**
   * The loaded version that a request means.
   *
   * @param version - empty for the newest
   * @throws TensorwireError `MODEL_VERSION_INVALID`, `MODEL_NOT_FOUND`, `MODEL_NOT_LOADED`,
   * `MODEL_VERSION_NOT_FOUND`, `MODEL_NOT_READY`, `MODEL_LOAD_FAILED`
   */
  resolve(name: string, version: string): ServedModel {
    checkVersion(name, version);
    const entry = this.#entry(name);
    const state = version === "" ? newest(entry) : entry.versions.get(version);
    const model = state && servingModel(state);
    if (model) return model;
    if (version !== "" && state === undefined && isLoaded(entry)) {
      throw modelVersionNotFound(name, version, this.loadedVersions(name));
    }
    switch (state?.kind) {
      case "loading":
      case "unloading":
        throw modelNotReady(name, state.kind);
      case "failed":
        throw modelLoadFailed(name, state.error.message, state.error);
      default:
        if (entry.failure) throw modelLoadFailed(name, entry.failure.message, entry.failure);
        throw modelNotLoaded(name);
    }
  }

  /** Versions of a model that answer calls, in rising order; none for an unknown model. */
  loadedVersions(name: string): string[] {
    const versions = this.#models.get(name)?.versions ?? new Map<string, VersionState>();
    return [...versions]
      .filter(([, state]) => servingModel(state) !== undefined)
      .map(([version]) => version)
      .sort(compareVersions);
  }

  /** All versions that answer calls. */
  *served(): Generator<ServedModel> {
    for (const { versions } of this.#models.values()) {
      for (const state of versions.values()) {
        const model = servingModel(state);
        if (model) yield model;
      }
    }
  }

  /** Every model and version with its state, by name and version. */
  index(): IndexRow[] {
    const rows: IndexRow[] = [];
    for (const [name, entry] of [...this.#models].sort(([a], [b]) => (a < b ? -1 : 1))) {
      if (entry.failure)
        rows.push({ name, version: "", state: { kind: "failed", error: entry.failure } });
      else if (entry.versions.size === 0) rows.push({ name, version: "", state: unloaded });
      for (const version of [...entry.versions.keys()].sort(compareVersions)) {
        rows.push({ name, version, state: entry.versions.get(version)! });
      }
    }
    return rows;
  }

  /** Unloads everything. */
  async close(): Promise<void> {
    await Promise.all([...this.#models.keys()].map((name) => this.unload(name)));
  }

  #entry(name: string): ModelEntry {
    const entry = this.#models.get(name);
    if (!entry) throw modelNotFound(name);
    return entry;
  }

  async #exclusive(entry: ModelEntry, task: () => Promise<void>): Promise<void> {
    const run = entry.busy.then(task);
    // The next one waits for the end of this one, whatever end that is.
    entry.busy = run.catch(() => undefined);
    await run;
  }

  async #load(name: string, entry: ModelEntry, override: ModelConfig | undefined): Promise<void> {
    const { folder } = entry;
    entry.fingerprint = await fingerprint(folder);
    let config: ModelConfig | undefined;
    let wanted: string[];
    try {
      config =
        override ?? (folder.configPath ? await readConfigFile(name, folder.configPath) : undefined);
      wanted = selectVersions(name, config, [...folder.versions.keys()]);
      if (wanted.length === 0)
        throw modelLoadFailed(
          name,
          "its folder has no version, a subfolder with a positive number as its name",
        );
      entry.failure = undefined;
    } catch (error) {
      entry.failure = fromUnknown(error);
      this.#log.error(
        { model: name, reason: entry.failure.reason, why: entry.failure.message },
        "a model failed to load",
      );
      throw entry.failure;
    }
    const results = await Promise.all(
      wanted.map((version) => this.#loadVersion(name, entry, version, config)),
    );
    const failure = results.find((error) => error !== undefined);
    if (results.every((error) => error !== undefined)) throw failure;
    for (const version of [...entry.versions.keys()]) {
      if (!wanted.includes(version)) await this.#retire(name, entry, version);
    }
    if (failure) throw failure;
  }

  /** Loads one version and swaps it in; gives the error instead of throwing it. */
  async #loadVersion(
    name: string,
    entry: ModelEntry,
    version: string,
    config: ModelConfig | undefined,
  ): Promise<TensorwireError | undefined> {
    const before = entry.versions.get(version);
    const old = before && servingModel(before);
    if (!old) this.#set(name, entry, version, loading);
    const started = performance.now();
    try {
      const model = await loadVersion(entry.folder, version, config, this.#options);
      this.#set(name, entry, version, { kind: "ready", model });
      this.#log.info(
        {
          model: name,
          version,
          placement: model.executor.placement,
          ms: Math.round(performance.now() - started),
        },
        "loaded a model",
      );
      await old?.retire();
      return undefined;
    } catch (thrown) {
      const error = fromUnknown(thrown);
      this.#set(
        name,
        entry,
        version,
        old ? { kind: "failed", error, model: old } : { kind: "failed", error },
      );
      this.#log.error(
        { model: name, version, reason: error.reason, why: error.message, err: error.cause },
        "a model failed to load",
      );
      return error;
    }
  }

  async #retire(name: string, entry: ModelEntry, version: string): Promise<void> {
    const state = entry.versions.get(version);
    const model = state && servingModel(state);
    if (model) {
      this.#set(name, entry, version, unloading);
      await model.retire();
      this.#log.info({ model: name, version }, "unloaded a model");
    }
    this.#set(name, entry, version, unloaded);
  }

  #set(name: string, entry: ModelEntry, version: string, state: VersionState): void {
    const before = isLoaded(entry);
    entry.versions.set(version, state);
    const after = isLoaded(entry);
    if (before !== after) for (const listener of this.#listeners) listener(name, after);
  }
}

/** The model that answers calls in a state, if one does. */
export function servingModel(state: VersionState): ServedModel | undefined {
  switch (state.kind) {
    case "ready":
    case "failed":
      return state.model;
    case "loading":
    case "unloading":
    case "unloaded":
      return undefined;
  }
}

function isLoaded(entry: ModelEntry): boolean {
  for (const state of entry.versions.values()) if (servingModel(state)) return true;
  return false;
}

/** State of the newest version that serves; without one, of the newest version there is. */
function newest(entry: ModelEntry): VersionState | undefined {
  const versions = [...entry.versions.keys()].sort(compareVersions).reverse();
  const serving = versions.find(
    (version) => servingModel(entry.versions.get(version)!) !== undefined,
  );
  const chosen = serving ?? versions[0];
  return chosen === undefined ? undefined : entry.versions.get(chosen);
}
