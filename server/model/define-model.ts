import type { TensorwireClient } from "../../clients/typescript/src/client.ts";
import type { ParameterValue } from "../../clients/typescript/src/infer-parameter.ts";
import type { InputTensor } from "../../clients/typescript/src/infer-request.ts";
import type { TensorOf } from "../../clients/typescript/src/typed-tensor.ts";
import type { ObserveGeneration } from "../generation/generation-observation.ts";
import type { Datatype, FixedSizeDatatype } from "../tensor/datatype.ts";
import type { TypedArrayOf } from "../tensor/typed-array.ts";

/** An input or output of a model. */
export interface Port {
  readonly datatype: Datatype;
  /** Sizes, -1 for any; with `maxBatchSize` without the batch dimension, as in config.pbtxt. */
  readonly shape: readonly number[];
  /** An input that a call may leave out. */
  readonly optional?: boolean;
  /** Class names of an output's last dimension, for the classification extension. */
  readonly labels?: readonly string[];
}

/** Inputs or outputs by name. */
export type Ports = Readonly<Record<string, Port>>;

/** The tensors that a call brings. */
export type InputsOf<P extends Ports> = {
  readonly [N in keyof P]: P[N] extends { readonly optional: true }
    ? TensorOf<P[N]["datatype"]> | undefined
    : TensorOf<P[N]["datatype"]>;
};

/** A tensor to answer with: what `tensor(...)` makes, an input, or a plain object of the same fields. */
export type OutputTensor<D extends Datatype> = D extends FixedSizeDatatype
  ? {
      readonly datatype: D;
      readonly shape: readonly number[];
      readonly data: TypedArrayOf[D];
    }
  : Extract<InputTensor, { readonly datatype: "BYTES" }>;

/** An answer; outputs that the call did not ask for may be left out. */
export type OutputsOf<P extends Ports> = {
  readonly [N in keyof P]?: OutputTensor<P[N]["datatype"]>;
};

/** Log lines of a model, in the server's log with the model's name. */
export interface ModelLog {
  debug(fields: Readonly<Record<string, unknown>>, message: string): void;
  info(fields: Readonly<Record<string, unknown>>, message: string): void;
  warn(fields: Readonly<Record<string, unknown>>, message: string): void;
  error(fields: Readonly<Record<string, unknown>>, message: string): void;
}

/** What a model is given when it is loaded. */
export interface LoadContext {
  readonly name: string;
  readonly version: string;
  /** Folder of the version. */
  readonly folder: string;
  /** `parameters` of config.pbtxt. */
  readonly parameters: Readonly<Record<string, string>>;
  /** The server's other models. */
  readonly client: TensorwireClient;
  readonly log: ModelLog;
  /** Takes what a text generator tells of its work, for the server's metrics. */
  readonly observeGenerations: ObserveGeneration;
}

/** What a model is given with a call. */
export interface InferContext<S> {
  /** What `load` gave. */
  readonly state: S;
  /** Aborts when nobody waits for the answer any more: a cancel, a deadline. */
  readonly signal: AbortSignal;
  /** Parameters of the request, save those that the protocol reserves; none in a batch of several calls. */
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** Outputs that the call asks for. */
  readonly outputs: readonly string[];
  /** The server's other models; its calls end with this one. */
  readonly client: TensorwireClient;
  readonly log: ModelLog;
}

/** A model in TypeScript or JavaScript. */
export interface ModelDefinition<I extends Ports = Ports, O extends Ports = Ports, S = unknown> {
  readonly inputs: I;
  readonly outputs: O;
  /**
   * Rows of a batch at most; 0, the default, for a model without a batch dimension. Calls share a batch if
   * config.pbtxt has `dynamic_batching`.
   */
  readonly maxBatchSize?: number;
  /** Calls that `infer` may have at once, 1 to 4096; default 16. The others wait in the server's queue. */
  readonly concurrency?: number;
  /**
   * True if a call may have any number of answers, which ModelStreamInfer brings as they are made. Default:
   * whether `infer` is an `async *` function.
   */
  readonly decoupled?: boolean;
  /** Called once for each instance, before its first call. The server waits for it. */
  load?(context: LoadContext): S | Promise<S>;
  /**
   * Answers a call. What it throws fails that call: an {@link InputError} as INVALID_ARGUMENT with its
   * message, an error of the client as that error, and any other as INTERNAL, with its message.
   */
  infer(
    inputs: InputsOf<I>,
    context: InferContext<S>,
  ): OutputsOf<O> | Promise<OutputsOf<O>> | AsyncIterable<OutputsOf<O>>;
  /** Called before the thread ends, after the last call. */
  unload?(state: S): void | Promise<void>;
}

const defined = Symbol.for("tensorwire.model");

/**
 * Defines a model. It is the default export of `<model>/<version>/model.ts`:
 *
 * ```ts
 * import { defineModel, tensor } from "tensorwire/model";
 *
 * export default defineModel({
 *   inputs: { text: { datatype: "BYTES", shape: [-1] } },
 *   outputs: { length: { datatype: "INT32", shape: [-1] } },
 *   infer: ({ text }) => ({
 *     length: tensor(text.shape, Int32Array.from(text.strings(), (each) => each.length)),
 *   }),
 * });
 * ```
 *
 * It runs in a thread of its own, which is started again if it ends.
 */
export function defineModel<const I extends Ports, const O extends Ports, S = undefined>(
  definition: ModelDefinition<I, O, S>,
): ModelDefinition<I, O, S> {
  return Object.freeze({ ...definition, [defined]: true });
}

/** Whether a value was made by {@link defineModel}, of whichever copy of this module. */
export function isDefined(value: unknown): value is ModelDefinition {
  return typeof value === "object" && value !== null && defined in value;
}
