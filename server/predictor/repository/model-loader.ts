import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { fromUnknown } from "../../errors/from-unknown.ts";
import { modelConfigInvalid, modelLoadFailed } from "../../errors/model-errors.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { Log } from "../../observability/log.ts";
import { readConfigFile } from "../model-config/read-config.ts";
import { isEnsemble, stepModels } from "./load-ensemble.ts";
import { type LoadContext, loadVersion } from "./load-version.ts";
import type { ModelEntry } from "./model-entry.ts";
import { fingerprint } from "./scan.ts";
import { selectVersions } from "./select-versions.ts";
import { loading, servingModel, unloaded, unloading } from "./version-state.ts";

/** Loads and unloads models, one after the other for each: call it within {@link ModelEntry.exclusive}. */
export class ModelLoader {
  readonly #models: ReadonlyMap<string, ModelEntry>;
  readonly #context: LoadContext;
  readonly #log: Log;

  /** @param models - of the repository, where an ensemble finds its own */
  constructor(models: ReadonlyMap<string, ModelEntry>, context: LoadContext) {
    this.#models = models;
    this.#context = context;
    this.#log = context.log;
  }

  /**
   * Loads the versions that the model's policy selects, then unloads those that it no longer selects. The
   * models of an ensemble are loaded before it. A version that fails leaves what served before.
   *
   * @param override - in place of config.pbtxt
   * @throws TensorwireError why the configuration, or the first version, failed
   */
  async load(entry: ModelEntry, override: ModelConfig | undefined): Promise<void> {
    const { name } = entry;
    entry.fingerprint = await fingerprint(entry.folder);
    let config: ModelConfig | undefined;
    let wanted: string[];
    try {
      config = override ?? (await this.#readConfig(entry));
      wanted = await this.#prepare(entry, config);
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
      wanted.map((version) => this.#loadVersion(entry, version, config)),
    );
    const failure = results.find((error) => error !== undefined);
    if (results.every((error) => error !== undefined)) throw failure;
    for (const version of entry.versions) {
      if (!wanted.includes(version)) await this.retire(entry, version);
    }
    if (failure) throw failure;
  }

  /** Unloads a version; its calls under way are answered first. */
  async retire(entry: ModelEntry, version: string): Promise<void> {
    const state = entry.state(version);
    const model = state && servingModel(state);
    if (model) {
      entry.set(version, unloading);
      await model.retire();
      this.#log.info({ model: entry.name, version }, "unloaded a model");
    }
    entry.set(version, unloaded);
  }

  async #readConfig({ name, folder }: ModelEntry): Promise<ModelConfig | undefined> {
    return folder.configPath ? readConfigFile(name, folder.configPath) : undefined;
  }

  /** Sees to what the model needs, and gives the versions to load. */
  async #prepare(entry: ModelEntry, config: ModelConfig | undefined): Promise<string[]> {
    const { name, folder } = entry;
    entry.steps = isEnsemble(config) ? stepModels(config) : [];
    // An ensemble is its configuration, and needs no folder for it.
    const wanted =
      isEnsemble(config) && folder.versions.size === 0
        ? ["1"]
        : selectVersions(name, config, [...folder.versions.keys()]);
    await this.#loadSteps(entry);
    if (wanted.length > 0) return wanted;
    throw modelLoadFailed(
      name,
      "its folder has no version, a subfolder with a positive number as its name",
    );
  }

  /**
   * Sees to it that the models of an ensemble are loaded.
   *
   * @throws TensorwireError `MODEL_CONFIG_INVALID` for a model that is not there, or if they wait for each
   * other; why a model failed
   */
  async #loadSteps(entry: ModelEntry): Promise<void> {
    const { name } = entry;
    for (const step of entry.steps) {
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
        await needed.exclusive(() => this.load(needed, undefined));
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

  /** Loads one version and swaps it in; gives the error instead of throwing it. */
  async #loadVersion(
    entry: ModelEntry,
    version: string,
    config: ModelConfig | undefined,
  ): Promise<TensorwireError | undefined> {
    const { name } = entry;
    const before = entry.state(version);
    const old = before && servingModel(before);
    if (!old) entry.set(version, loading);
    const started = performance.now();
    try {
      const model = await loadVersion(entry.folder, version, config, this.#context);
      entry.set(version, { kind: "ready", model });
      const ms = Math.round(performance.now() - started);
      const { placement } = model.executor;
      this.#log.info({ model: name, version, placement, ms }, "loaded a model");
      await old?.retire();
      return undefined;
    } catch (thrown) {
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
