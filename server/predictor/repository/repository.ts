import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { modelNotFound } from "../../errors/model-errors.ts";
import type { Log } from "../../observability/log.ts";
import type { ServedModel } from "../served-model.ts";
import type { LoadContext } from "./load-version.ts";
import { type IndexRow, ModelEntry, type ReadinessListener } from "./model-entry.ts";
import { ModelLoader } from "./model-loader.ts";
import { checkModelName, checkVersion } from "./model-name.ts";
import { fingerprint, type ModelFolder, scanRepositories } from "./scan.ts";
import { SettledFiles } from "./settled-files.ts";
import { storeUpload, type UploadedModel } from "./uploaded-model.ts";

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
  readonly #loader: ModelLoader;
  readonly #log: Log;
  readonly #models = new Map<string, ModelEntry>();
  readonly #listeners = new Set<ReadinessListener>();
  readonly #files = new SettledFiles();

  constructor(options: RepositoryOptions) {
    this.#options = options;
    const resolve: LoadContext["resolve"] = (name, version) => this.resolve(name, version);
    this.#loader = new ModelLoader(this.#models, { ...options, resolve });
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
      if (!names.has(name) && !entry.upload && !entry.isLoaded) this.#models.delete(name);
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
      return entry.exclusive(() => this.#loader.load(entry, undefined));
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
    await entry.exclusive(async () => {
      const { upload } = entry;
      if (upload) {
        // Back to the repository's own files.
        const folder = (await this.#scanFolders()).find((each) => each.name === name);
        if (!folder) throw modelNotFound(name);
        entry.upload = undefined;
        entry.folder = folder;
      }
      await this.#loader.load(entry, config);
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
      await Promise.all(entry.versions.map((version) => this.#loader.retire(entry, version)));
      await entry.upload?.remove();
      entry.upload = undefined;
    });
    if (!withSteps) return;
    const inUse = new Set(
      [...this.#models.values()].flatMap(({ isLoaded, steps }) => (isLoaded ? [...steps] : [])),
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
        this.#files.forget(name);
        continue;
      }
      const now = await fingerprint(entry.folder);
      if (this.#files.look(name, entry.fingerprint, now) !== "settled") continue;
      await this.load(name).catch(() => {
        // The loader has logged it, and the index shows it.
      });
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
    return this.#entry(name).resolve(version);
  }

  /** Versions of a model that answer calls, in rising order; none for an unknown model. */
  loadedVersions(name: string): string[] {
    return this.#models.get(name)?.loadedVersions ?? [];
  }

  /** All versions that answer calls. */
  *served(): Generator<ServedModel> {
    for (const entry of this.#models.values()) yield* entry.served();
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
    await model.exclusive(async () => {
      const before = { upload: model.upload, folder: model.folder };
      model.upload = upload;
      model.folder = upload.folder;
      try {
        await this.#loader.load(model, config);
        await before.upload?.remove();
      } catch (error) {
        model.upload = before.upload;
        model.folder = before.folder;
        await upload.remove();
        throw error;
      }
    });
  }

  #entry(name: string): ModelEntry {
    const entry = this.#models.get(name);
    if (!entry) throw modelNotFound(name);
    return entry;
  }

  #add(folder: ModelFolder): ModelEntry {
    const entry = new ModelEntry(folder, (model, ready) => {
      for (const listener of this.#listeners) listener(model, ready);
    });
    this.#models.set(folder.name, entry);
    return entry;
  }
}
