import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { ModelStatistics } from "../model-statistics.ts";
import type { ServedModel } from "../served-model.ts";
import type { ModelSignature } from "../signature.ts";

/** What is kept of a version whose memory was given back. */
export interface RestingModel {
  readonly name: string;
  readonly version: string;
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
  readonly statistics: ModelStatistics;
}

/** Life of one model version. */
export type VersionState =
  | { readonly kind: "loading" }
  | { readonly kind: "ready"; readonly model: ServedModel }
  /** `model` still serves if it is there: a newer load failed and the old one stayed. */
  | { readonly kind: "failed"; readonly error: TensorwireError; readonly model?: ServedModel }
  | { readonly kind: "unloading"; readonly model: ServedModel }
  | { readonly kind: "unloaded" }
  /** Not in memory: the next call loads it. `last` is there if it was loaded before. */
  | { readonly kind: "standby"; readonly last?: RestingModel }
  /** Being loaded for the calls that wait for it. */
  | { readonly kind: "recalling"; readonly last?: RestingModel }
  /** Its calls under way are answered, then it is on standby; new calls wait. */
  | { readonly kind: "evicting"; readonly model: ServedModel };

export const loading: VersionState = { kind: "loading" };
export const unloaded: VersionState = { kind: "unloaded" };

/** The model that answers calls in a state, if one does. */
export function servingModel(state: VersionState): ServedModel | undefined {
  switch (state.kind) {
    case "ready":
    case "failed":
      return state.model;
    case "loading":
    case "unloading":
    case "unloaded":
    case "standby":
    case "recalling":
    case "evicting":
      return undefined;
  }
}

/** The model that is in memory in a state, if one is. */
export function modelInMemory(state: VersionState): ServedModel | undefined {
  switch (state.kind) {
    case "ready":
    case "failed":
    case "unloading":
    case "evicting":
      return state.model;
    case "loading":
    case "unloaded":
    case "standby":
    case "recalling":
      return undefined;
  }
}

/** What is known of a version whose calls are answered now or once it is back in memory. */
export function knownModel(state: VersionState): RestingModel | undefined {
  switch (state.kind) {
    case "ready":
    case "failed":
    case "evicting":
      return state.model;
    case "standby":
    case "recalling":
      return state.last;
    case "loading":
    case "unloading":
    case "unloaded":
      return undefined;
  }
}

/** Whether calls of a version are answered, be it once it is back in memory. */
export function answersCalls(state: VersionState): boolean {
  switch (state.kind) {
    case "ready":
    case "standby":
    case "recalling":
    case "evicting":
      return true;
    case "failed":
      return state.model !== undefined;
    case "loading":
    case "unloading":
    case "unloaded":
      return false;
  }
}

/** What is kept of a model when its memory is given back. */
export function restingModel(model: ServedModel): RestingModel {
  const { name, version, config, signature, statistics } = model;
  return { name, version, config, signature, statistics };
}
