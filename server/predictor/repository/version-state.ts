import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import type { ServedModel } from "../served-model.ts";

/** Life of one model version. */
export type VersionState =
  | { readonly kind: "loading" }
  | { readonly kind: "ready"; readonly model: ServedModel }
  /** `model` still serves if it is there: a newer load failed and the old one stayed. */
  | { readonly kind: "failed"; readonly error: TensorwireError; readonly model?: ServedModel }
  | { readonly kind: "unloading" }
  | { readonly kind: "unloaded" };

export const loading: VersionState = { kind: "loading" };
export const unloading: VersionState = { kind: "unloading" };
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
      return undefined;
  }
}
