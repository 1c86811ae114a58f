import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../../errors/from-unknown.ts";
import {
  modelConfigInvalid,
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
import { isEnsemble, stepModels } from "./load-ensemble.ts";
import { type LoadContext, loadVersion } from "./load-version.ts";
import { checkModelName, checkVersion, compareVersions } from "./model-name.ts";
import { fingerprint, type ModelFolder, scanRepositories } from "./scan.ts";
import { selectVersions } from "./select-versions.ts";
import { storeUpload, type UploadedModel } from "./uploaded-model.ts";

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
  /** Models that an ensemble is made of, as it was loaded last. */
  steps: readonly string[];
  /** Models whose load this one's waits for. */
  readonly waitsFor: Set<string>;
  /** Set if it was loaded from the files of a request, which the repository's folder does not replace. */
  upload: UploadedModel | undefined;
}

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
}

/**
 * The models of one or more repository folders, and which versions of them are loaded. New versions
 * become ready before old ones leave; a version that fails to load leaves the old one serving.
 */
export class Repository {
  readonly #options: RepositoryOptions;
  readonly #context: LoadContext;
  readonly #log: Log;
  readonly #models = new Map<string, ModelEntry>();
  readonly #listeners = new Set<ReadinessListener>();
  /** Fingerprints seen by the last poll, of models whose files differ from what is loaded. */
  readonly #changing = new Map<string, string>();

  constructor(options: RepositoryOptions) {
    this.#options = options;
    this.#context = { ...options, resolve: (name, version) => this.resolve(name, version) };
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
      if (!entry) this.#models.set(folder.name, newEntry(folder));
      else if (!entry.upload) entry.folder = folder;
    }
    for (const [name, entry] of this.#models) {
      if (!names.has(name) && !entry.upload && !isLoaded(entry)) this.#models.delete(name);
    }
    return [...names];
  }

  /**
   * Loads models that {@link scan} found, all at once; a model that fails does not stop the others.
   *
   * @returns the failures
   */
  async loadAll(names: readonly string[]): Promise<readonly unknown[]> {
    // Every load is in its model's queue before one begins: an ensemble sees that its models are on the way.
    const loads = names.map((name) => {
      const entry = this.#entry(name);
      return this.#exclusive(entry, () => this.#load(name, entry, undefined));
    });
    const results = await Promise.allSettled(loads);
    return results.flatMap((result) => (result.status === "rejected" ? [result.reason] : []));
  }

  /**
   * Loads a model, or loads it again: the versions that its policy selects become ready, then those
   * that it no longer selects leave. The models of an ensemble are loaded before it.
   *
   * @throws TensorwireError `MODEL_NOT_FOUND`, `MODEL_NAME_INVALID`, `PARAMETER_INVALID` for files without
   * a configuration or outside the model's folder, or why the first version failed
   */
  async load(name: string, { config, files }: LoadRequest = {}): Promise<void> {
    checkModelName(name);
    if (files) {
      await this.#loadUpload(name, await storeUpload(name, config, files), config);
      return;
    }
    await this.scan();
    const entry = this.#entry(name);
    await this.#exclusive(entry, async () => {
      const { upload } = entry;
      if (upload) {
        // Back to the repository's own files.
        const folder = (await this.#scanFolders()).find((each) => each.name === name);
        if (!folder) throw modelNotFound(name);
        entry.upload = undefined;
        entry.folder = folder;
      }
      await this.#load(name, entry, config);
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
    await this.#exclusive(entry, async () => {
      entry.failure = undefined;
      entry.fingerprint = "";
      await Promise.all(
        [...entry.versions.keys()].map((version) => this.#retire(name, entry, version)),
      );
      await entry.upload?.remove();
      entry.upload = undefined;
    });
    if (!withSteps) return;
    const inUse = new Set(
      [...this.#models.values()].filter(isLoaded).flatMap(({ steps }) => [...steps]),
    );
    for (const step of entry.steps) {
      if (!inUse.has(step) && this.#models.has(step)) await this.unload(step, true);
    }
  }

  /**
   * Compares the folders with what is loaded: new models are loaded, changed ones loaded again, those
   * whose folder went unloaded. A change counts once two polls in a row see the same files, so that a
   * copy in progress is left alone. Failures are logged and show in the index.
   */
  async poll(): Promise<void> {
    const present = new Set(await this.scan());
    for (const [name, entry] of this.#models) {
      if (entry.upload) continue;
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

  #scanFolders(): Promise<ModelFolder[]> {
    return scanRepositories(this.#options.paths, this.#options.modelName);
  }

  /** Loads a model from files that came with the request; what it replaces goes when it is ready. */
  async #loadUpload(
    name: string,
    upload: UploadedModel,
    config: ModelConfig | undefined,
  ): Promise<void> {
    let entry = this.#models.get(name);
    if (!entry) {
      entry = newEntry(upload.folder);
      this.#models.set(name, entry);
    }
    const model = entry;
    await this.#exclusive(model, async () => {
      const before = { upload: model.upload, folder: model.folder };
      model.upload = upload;
      model.folder = upload.folder;
      try {
        await this.#load(name, model, config);
        await before.upload?.remove();
      } catch (error) {
        model.upload = before.upload;
        model.folder = before.folder;
        await upload.remove();
        throw error;
      }
    });
  }

  /**
   * Sees to it that the models of an ensemble are loaded.
   *
   * @throws TensorwireError `MODEL_CONFIG_INVALID` for a model that is not there, or if they wait for each
   * other; why a model failed
   */
  async #loadSteps(name: string, entry: ModelEntry, steps: readonly string[]): Promise<void> {
    for (const step of steps) {
      const needed = this.#models.get(step);
      if (!needed) {
        throw modelConfigInvalid(name, `has a step "${step}", which is not in the repository`);
      }
      if (step === name || this.#waits(step, name)) {
        throw modelConfigInvalid(name, `has a step "${step}" that is made of "${name}" itself`);
      }
      entry.waitsFor.add(step);
      try {
        await needed.busy;
        if (isLoaded(needed)) continue;
        if (needed.failure) throw needed.failure;
        await this.#exclusive(needed, () => this.#load(step, needed, undefined));
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
      entry.steps = isEnsemble(config) ? stepModels(config) : [];
      // An ensemble is its configuration, and needs no folder for it.
      wanted =
        isEnsemble(config) && folder.versions.size === 0
          ? ["1"]
          : selectVersions(name, config, [...folder.versions.keys()]);
      await this.#loadSteps(name, entry, entry.steps);
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
      const model = await loadVersion(entry.folder, version, config, this.#context);
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

function newEntry(folder: ModelFolder): ModelEntry {
  return {
    folder,
    versions: new Map(),
    busy: Promise.resolve(),
    fingerprint: "",
    failure: undefined,
    steps: [],
    waitsFor: new Set(),
    upload: undefined,
  };
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
