/**
 * What a model in TypeScript imports as `tensorwire/model`.
 *
 * @module
 */
export type { TensorwireClient } from "../../clients/typescript/src/client.ts";
export type { ParameterValue } from "../../clients/typescript/src/infer-parameter.ts";
export { InferenceError } from "../../clients/typescript/src/inference-error.ts";
export { tensor } from "../../clients/typescript/src/tensor.ts";
export type {
  BytesTensor,
  NumericTensor,
  TensorOf,
  TypedTensor,
} from "../../clients/typescript/src/typed-tensor.ts";
export type { Datatype } from "../tensor/datatype.ts";
export {
  defineModel,
  type InferContext,
  type InputsOf,
  type LoadContext,
  type ModelDefinition,
  type ModelLog,
  type OutputsOf,
  type OutputTensor,
  type Port,
  type Ports,
} from "./define-model.ts";
export { InputError } from "./input-error.ts";
