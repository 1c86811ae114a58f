import type { PortableError } from "../errors/portable-error.ts";
import type { GenerationObservation } from "../generation/generation-observation.ts";
import type { Datatype } from "../tensor/datatype.ts";
import type { PackedTensor } from "../tensor/packed-tensor.ts";

/** Value of a request parameter. */
export type Parameter = boolean | bigint | number | string;

/** What the thread of a model is started with. */
export interface ThreadData {
  readonly name: string;
  readonly version: string;
  /** Path of the module. */
  readonly path: string;
  readonly folder: string;
  /** `parameters` of config.pbtxt. */
  readonly parameters: Readonly<Record<string, string>>;
}

/** An input or output as a definition declares it, checked. */
export interface ThreadPort {
  readonly name: string;
  readonly datatype: Datatype;
  /** With the batch dimension, if there is one. */
  readonly shape: readonly number[];
  readonly optional: boolean;
  readonly labels: readonly string[];
}

/** A definition without its functions. */
export interface ThreadModel {
  readonly inputs: readonly ThreadPort[];
  readonly outputs: readonly ThreadPort[];
  readonly maxBatchSize: number;
  readonly concurrency: number;
  readonly decoupled: boolean;
}

/** What the server tells the thread of a model. */
export type ToThread =
  | {
      readonly kind: "infer";
      readonly id: number;
      readonly inputs: readonly PackedTensor[];
      readonly outputNames: readonly string[];
      readonly parameters: Readonly<Record<string, Parameter>>;
    }
  /** Nobody waits for the call any more; it is answered all the same. */
  | { readonly kind: "cancel"; readonly id: number }
  /** One more answer of a decoupled call may be sent. */
  | { readonly kind: "more"; readonly id: number }
  | { readonly kind: "ping" }
  /** Unloads the model and ends the thread. */
  | { readonly kind: "end" }
  /** Of a call that the model made: another request may be sent; an answer, the end, the failure. */
  | { readonly kind: "next"; readonly id: number }
  | { readonly kind: "answer"; readonly id: number; readonly message: Uint8Array }
  | { readonly kind: "answered"; readonly id: number }
  | { readonly kind: "refused"; readonly id: number; readonly error: PortableError };

/** What the thread of a model tells the server. */
export type FromThread =
  | { readonly kind: "loaded"; readonly model: ThreadModel }
  | { readonly kind: "unloadable"; readonly why: string }
  /** An answer of a call; the last one of a call that is not decoupled. */
  | {
      readonly kind: "answer";
      readonly id: number;
      readonly outputs: readonly PackedTensor[];
      readonly inferNs: number;
    }
  /** The end of a decoupled call. */
  | { readonly kind: "answered"; readonly id: number; readonly inferNs: number }
  | { readonly kind: "failed"; readonly id: number; readonly error: PortableError }
  | { readonly kind: "pong" }
  /** What a text generator did since the last one. */
  | { readonly kind: "generated"; readonly observation: GenerationObservation }
  | {
      readonly kind: "log";
      readonly level: "debug" | "info" | "warn" | "error";
      readonly fields: Readonly<Record<string, unknown>>;
      readonly message: string;
    }
  /** A call of the server by the model; a unary one brings its request. */
  | {
      readonly kind: "call";
      readonly id: number;
      /** Key of the method in the service: `modelInfer`. */
      readonly method: string;
      readonly message: Uint8Array | undefined;
    }
  /** Of such a call: a request, the end of the requests, room for another answer, its cancel. */
  | { readonly kind: "send"; readonly id: number; readonly message: Uint8Array }
  | { readonly kind: "sent"; readonly id: number }
  | { readonly kind: "more"; readonly id: number }
  | { readonly kind: "cancel"; readonly id: number };

/** Answers of a call that are under way to their reader at most. */
export const answersAtOnce = 8;
