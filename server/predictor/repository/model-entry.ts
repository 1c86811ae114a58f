import {
  modelLoadFailed,
  modelNotLoaded,
  modelNotReady,
  modelVersionNotFound,
} from "../../errors/model-errors.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { WaitingCalls } from "../residency/waiting-calls.ts";
import type { ServedModel } from "../served-model.ts";
import type { LoadPlan } from "./load-plan.ts";
import { compareVersions } from "./model-name.ts";
import type { Recall } from "./recall.ts";
import type { ModelFolder } from "./scan.ts";
import type { UploadedModel } from "./uploaded-model.ts";
import {
  answersCalls,
  knownModel,
  modelInMemory,
  type RestingModel,
  servingModel,
  unloaded,
  type VersionState,
} from "./version-state.ts";

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
  /** Calls that wait until it is in memory. */
  readonly waiting: WaitingCalls;
  folder: ModelFolder;
  /** Of the files that were loaded last, for polling. */
  fingerprint = "";
  /** A failure that belongs to no version: the configuration, or a folder without versions. */
  failure: TensorwireError | undefined = undefined;
  /** What was loaded last. */
  plan: LoadPlan | undefined = undefined;
  /** What is being loaded. */
  pending: LoadPlan | undefined = undefined;
  /** Set while calls load it: it is on standby, or was and is on its way. */
  recall: Recall | undefined = undefined;
  /** The load for the calls that wait, while it is under way. */
  recalling: Promise<void> | undefined = undefined;
  /** Models whose load this one's waits for. */
  readonly waitsFor: Set<string> = new Set();
  /** Set if it was loaded from the files of a request, which the repository's folder does not replace. */
  upload: UploadedModel | undefined = undefined;
  /** Bytes that each version was seen to take when it was loaded last. */
  readonly measured: Map<string, number> = new Map();
  /** Until then it stays in memory if it can, in ms on the monotonic clock. */
  stayUntilMs = 0;
  /** When it was loaded last, in Unix ms. */
  loadedMs = 0;
  /** Loads for calls, and departures to make room, since the start. */
  recalls = 0;
  evictions = 0;
  readonly #versions = new Map<string, VersionState>();
  readonly #onReadiness: ReadinessListener;
  #busy: Promise<void> = Promise.resolve();
  #tasks = 0;

  constructor(folder: ModelFolder, waiting: WaitingCalls, onReadiness: ReadinessListener) {
    this.name = folder.name;
    this.folder = folder;
    this.waiting = waiting;
    this.#onReadiness = onReadiness;
  }

  /** Whether a version of it is in memory and answers calls. */
  get isLoaded(): boolean {
    for (const state of this.#versions.values()) if (servingModel(state)) return true;
    return false;
  }

  /** Whether calls of it are answered, be it once it is back in memory. */
  get isAvailable(): boolean {
    for (const state of this.#versions.values()) if (answersCalls(state)) return true;
    return false;
  }

  /** Whether a load or an unload is under way or waits. */
  get isUnderWay(): boolean {
    return this.#tasks > 0 || this.recalling !== undefined;
  }

  /** Models that an ensemble is made of, as it was loaded last. */
  get steps(): readonly string[] {
    return this.plan?.steps ?? [];
  }

  /** Resolves once the loads and unloads that were asked for until now are over, whatever end they had. */
  get settled(): Promise<void> {
    return this.#busy;
  }

  /** Versions that were ever asked for, in rising order. */
  get versions(): string[] {
    return [...this.#versions.keys()].sort(compareVersions);
  }

  /** Versions that answer calls, be it once they are back in memory, in rising order. */
  get availableVersions(): string[] {
    return this.versions.filter((version) => answersCalls(this.#versions.get(version)!));
  }

  /** Versions that are in memory and answer calls, in no order. */
  *served(): Generator<ServedModel> {
    for (const state of this.#versions.values()) {
      const model = servingModel(state);
      if (model) yield model;
    }
  }

  /** Versions that are in memory, those that are about to leave included. */
  *inMemory(): Generator<ServedModel> {
    for (const state of this.#versions.values()) {
      const model = modelInMemory(state);
      if (model) yield model;
    }
  }

  /** What is known of the versions that answer calls, be it once they are back in memory. */
  *known(): Generator<RestingModel> {
    for (const state of this.#versions.values()) {
      const model = knownModel(state);
      if (model) yield model;
    }
  }

  state(version: string): VersionState | undefined {
    return this.#versions.get(version);
  }

  /** Sets the state of a version, and says so if the model became ready or stopped being so. */
  set(version: string, state: VersionState): void {
    const before = this.isAvailable;
    this.#versions.set(version, state);
    const after = this.isAvailable;
    if (before !== after) this.#onReadiness(this.name, after);
  }

  /** Forgets a version that was not loaded. */
  forget(version: string): void {
    this.#versions.delete(version);
  }

  /** Loads and unloads of one model happen one after the other. */
  async exclusive(task: () => Promise<void>): Promise<void> {
    this.#tasks++;
    const run = this.#busy.then(task);
    // The next one waits for the end of this one, whatever end that is.
    this.#busy = run.catch(() => undefined);
    try {
      await run;
    } finally {
      this.#tasks--;
    }
  }

  /**
   * The version in memory that answers a request; `undefined` if there is none.
   *
   * @param version - empty for the newest
   */
  serving(version: string): ServedModel | undefined {
    if (version !== "") {
      const state = this.#versions.get(version);
      return state && servingModel(state);
    }
    let newest: ServedModel | undefined;
    for (const state of this.#versions.values()) {
      const model = servingModel(state);
      if (model && (!newest || compareVersions(model.version, newest.version) > 0)) newest = model;
    }
    return newest;
  }

  /**
   * Whether a call may load what it asks for.
   *
   * @param version - empty for the newest
   * @param nowMs - monotonic clock
   */
  isOnDemand(version: string, nowMs: number): boolean {
    const { recall } = this;
    if (!recall || nowMs < recall.notBeforeMs) return false;
    return version === "" || recall.plan.versions.includes(version);
  }

  /**
   * The version in memory that answers a request.
   *
   * @param version - empty for the newest
   * @throws TensorwireError `MODEL_NOT_LOADED`, `MODEL_VERSION_NOT_FOUND`, `MODEL_NOT_READY`,
   * `MODEL_LOAD_FAILED`
   */
  resolve(version: string): ServedModel {
    const model = this.serving(version);
    if (model) return model;
    const state = version === "" ? this.#newest() : this.#versions.get(version);
    if (version !== "" && state === undefined && this.isAvailable) {
      throw modelVersionNotFound(this.name, version, this.availableVersions);
    }
    switch (state?.kind) {
      case "loading":
      case "unloading":
      case "standby":
      case "recalling":
      case "evicting":
        throw modelNotReady(this.name, state.kind);
      case "failed":
        throw this.#failed(state.error);
      case "ready":
      case "unloaded":
      case undefined:
        if (this.failure) throw this.#failed(this.failure);
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

  /** What a call hears of a load that failed: to try again is of no use where memory is too small. */
  #failed(error: TensorwireError): TensorwireError {
    if (error.reason === "MODEL_MEMORY_EXCEEDED") return error;
    return modelLoadFailed(this.name, error.message, error);
  }

  /** State of the newest version that answers calls; without one, of the newest version there is. */
  #newest(): VersionState | undefined {
    const chosen = this.availableVersions.at(-1) ?? this.versions.at(-1);
    return chosen === undefined ? undefined : this.#versions.get(chosen);
  }
}
