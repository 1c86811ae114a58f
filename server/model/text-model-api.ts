/**
 * What a text model in TypeScript imports as `tensorwire/text-model`, beside `tensorwire/model`.
 *
 * @module
 */
export type { GenerationObservation } from "../generation/generation-observation.ts";
export type { GenerationParameters } from "../generation/generation-parameters.ts";
export {
  openTextModel,
  type TextModelOptions,
  type VocabularyFile,
} from "../generation/open-text-model.ts";
export type { RowStep, StepModel } from "../generation/step-model.ts";
export {
  createStepModelGenerator,
  type GenerateOptions,
  type Generation,
  type StepModelGeneratorOptions,
  type TextGenerator,
} from "../generation/text-generator.ts";
export type { TextChunk, TextToken, TokenLogprobs, TokenUsage } from "../generation/text-stream.ts";
export {
  characterVocabulary,
  type TokenDecoder,
  type Vocabulary,
} from "../generation/vocabulary.ts";
export { defineTextModel, type TextModelDefinition } from "./define-text-model.ts";
