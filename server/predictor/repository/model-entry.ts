import {
  modelLoadFailed,
  modelNotLoaded,
  modelNotReady,
  modelVersionNotFound,
} from "../../errors/model-errors.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { ServedModel } from "../served-model.ts";
import { compareVersions } from "./model-name.ts";
import type { ModelFolder } from "./scan.ts";
import type { UploadedModel } from "./uploaded-model.ts";
import { servingModel, unloaded, type VersionState } from "./version-state.ts";

/** A row of the repository's index. */
export interface IndexRow {
  readonly name: string;
  /** Empty for a model of which no version was ever asked for. */
  readonly version: string;
  readonly state: VersionState;
}

/** Called when a model starts or stops being ready. */
export type ReadinessListener = (model: string, ready: boolean) => void;

/** A model of the repository: where it lies, and what became of each of its versions. */
export class ModelEntry {
  readonly name: string;
  folder: ModelFolder;
  /** Of the files that were loaded last, for polling. */
  fingerprint = "";
  /** A failure that belongs to no version: the configuration, or a folder without versions. */
  failure: TensorwireError | undefined = undefined;
  /** Models that an ensemble is made of, as it was loaded last. */
  steps: readonly string[] = [];
  /** Models whose load this one's waits for. */
  readonly waitsFor: Set<string> = new Set();
  /** Set if it was loaded from the files of a request, which the repository's folder does not replace. */
  upload: UploadedModel | undefined = undefined;
  readonly #versions = new Map<string, VersionState>();
  readonly #onReadiness: ReadinessListener;
  #busy: Promise<void> = Promise.resolve();

  constructor(folder: ModelFolder, onReadiness: ReadinessListener) {
    this.name = folder.name;
    this.folder = folder;
    this.#onReadiness = onReadiness;
  }

  /** Whether a version of it answers calls. */
  get isLoaded(): boolean {
    for (const state of this.#versions.values()) if (servingModel(state)) return true;
    return false;
  }

  /** Resolves once the loads and unloads that were asked for until now are over, whatever end they had. */
  get settled(): Promise<void> {
    return this.#busy;
  }

  /** Versions that were ever asked for, in rising order. */
  get versions(): string[] {
    return [...this.#versions.keys()].sort(compareVersions);
  }

  /** Versions that answer calls, in rising order. */
  get loadedVersions(): string[] {
    return this.versions.filter((version) => servingModel(this.#versions.get(version)!));
  }

  /** Versions that answer calls, in no order. */
  *served(): Generator<ServedModel> {
    for (const state of this.#versions.values()) {
      const model = servingModel(state);
      if (model) yield model;
    }
  }

  state(version: string): VersionState | undefined {
    return this.#versions.get(version);
  }

  /** Sets the state of a version, and says so if the model became ready or stopped being so. */
  set(version: string, state: VersionState): void {
    const before = this.isLoaded;
    this.#versions.set(version, state);
    const after = this.isLoaded;
    if (before !== after) this.#onReadiness(this.name, after);
  }

  /** Loads and unloads of one model happen one after the other. */
  async exclusive(task: () => Promise<void>): Promise<void> {
    const run = this.#busy.then(task);
    // The next one waits for the end of this one, whatever end that is.
    this.#busy = run.catch(() => undefined);
    await run;
  }

  /**
   * The version that answers a request.
   *
   * @param version - empty for the newest
   * @throws TensorwireError `MODEL_NOT_LOADED`, `MODEL_VERSION_NOT_FOUND`, `MODEL_NOT_READY`,
   * `MODEL_LOAD_FAILED`
   */
  resolve(version: string): ServedModel {
    const state = version === "" ? this.#newest() : this.#versions.get(version);
    const model = state && servingModel(state);
    if (model) return model;
    if (version !== "" && state === undefined && this.isLoaded) {
      throw modelVersionNotFound(this.name, version, this.loadedVersions);
    }
    switch (state?.kind) {
      case "loading":
      case "unloading":
        throw modelNotReady(this.name, state.kind);
      case "failed":
        throw modelLoadFailed(this.name, state.error.message, state.error);
      default:
        if (this.failure) throw modelLoadFailed(this.name, this.failure.message, this.failure);
        throw modelNotLoaded(this.name);
    }
  }

  /** Its rows of the index, by version. */
  rows(): IndexRow[] {
    const { name, failure, versions } = this;
    const rows = versions.map((version) => ({
      name,
      version,
      state: this.#versions.get(version)!,
    }));
    if (failure) rows.unshift({ name, version: "", state: { kind: "failed", error: failure } });
    else if (rows.length === 0) rows.push({ name, version: "", state: unloaded });
    return rows;
  }

  /** State of the newest version that serves; without one, of the newest version there is. */
  #newest(): VersionState | undefined {
    const { versions } = this;
    const chosen = this.loadedVersions.at(-1) ?? versions.at(-1);
    return chosen === undefined ? undefined : this.#versions.get(chosen);
  }
}
