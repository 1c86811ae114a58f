import { tensor } from "../../clients/typescript/src/tensor.ts";
import { parametersOfRequest } from "../generation/request-parameters.ts";
import type { TextGenerator } from "../generation/text-generator.ts";
import type { TextChunk, TextToken, TokenLogprobs } from "../generation/text-stream.ts";
import {
  defineModel,
  type InputsOf,
  type LoadContext,
  type ModelDefinition,
  type OutputsOf,
} from "./define-model.ts";

/** A text model: what opens its generator, and its limits. */
export interface TextModelDefinition {
  /** Opens the generator of an instance; hand on the context's name and `observeGenerations`. */
  open(context: LoadContext): TextGenerator | Promise<TextGenerator>;
  /**
   * Generations that the generator may have at once, 1 to 4096, those included that wait in it; default
   * 72, for 8 slots and 64 that wait. Others wait in the server's queue.
   */
  readonly concurrency?: number;
  /** Longest time of a generation, waiting for a slot included, in ms. Default: none. */
  readonly timeoutMs?: number;
}

/** Generations that a generator takes with its defaults: 8 slots, and 64 that wait. */
const defaultConcurrency = 72;

const inputs = {
  text_input: { datatype: "BYTES", shape: [1] },
  stream: { datatype: "BOOL", shape: [1], optional: true },
  exclude_input_in_output: { datatype: "BOOL", shape: [1], optional: true },
  sampling_parameters: { datatype: "BYTES", shape: [1], optional: true },
} as const;

const outputs = {
  text_output: { datatype: "BYTES", shape: [1] },
  finish_reason: { datatype: "BYTES", shape: [1] },
  num_input_tokens: { datatype: "UINT32", shape: [1] },
  num_output_tokens: { datatype: "UINT32", shape: [1] },
  logprobs: { datatype: "BYTES", shape: [-1] },
} as const;

type Inputs = typeof inputs;
type Outputs = typeof outputs;

/**
 * Defines a text model with the inputs and outputs that the server's text routes look for, which
 * docs/generation.md lists. It is the default export of `<model>/<version>/model.ts`:
 *
 * ```ts
 * import { join } from "node:path";
 * import { defineTextModel, openTextModel } from "tensorwire/text-model";
 *
 * export default defineTextModel({
 *   open: ({ name, folder, observeGenerations }) =>
 *     openTextModel({
 *       name,
 *       graph: join(folder, "opticks.onnx"),
 *       vocabulary: join(folder, "opticks.json"),
 *       observe: observeGenerations,
 *     }),
 * });
 * ```
 */
export function defineTextModel(
  definition: TextModelDefinition,
): ModelDefinition<Inputs, Outputs, TextGenerator> {
  const { open, concurrency = defaultConcurrency, timeoutMs } = definition;
  return defineModel<Inputs, Outputs, TextGenerator>({
    inputs,
    outputs,
    concurrency,
    decoupled: true,
    load: (context) => open(context),
    async *infer(given, { state, signal, parameters }) {
      const [prompt] = given.text_input.strings() as [string];
      const asked = parametersOfRequest(parameters, given.sampling_parameters?.strings()[0]);
      const generation = state.generate(prompt, asked, { signal, timeoutMs });
      const before = isSet(given.exclude_input_in_output, true) ? "" : prompt;
      const chunks = withTextBefore(before, generation);
      if (isSet(given.stream, true)) for await (const chunk of chunks) yield answerOf(chunk);
      else yield answerOf(await wholeOf(chunks));
    },
    unload: (generator) => generator.close(),
  });
}

function isSet(input: InputsOf<Inputs>["stream"], otherwise: boolean): boolean {
  return input === undefined ? otherwise : input.data[0] !== 0;
}

async function* withTextBefore(
  before: string,
  chunks: AsyncIterable<TextChunk>,
): AsyncGenerator<TextChunk> {
  let text = before;
  for await (const chunk of chunks) {
    yield text === "" ? chunk : { ...chunk, text: text + chunk.text };
    text = "";
  }
}

async function wholeOf(chunks: AsyncIterable<TextChunk>): Promise<TextChunk> {
  let text = "";
  const tokens: number[] = [];
  const logprobs: TokenLogprobs[] = [];
  let last: Partial<TextChunk> = {};
  for await (const chunk of chunks) {
    text += chunk.text;
    tokens.push(...chunk.tokens);
    logprobs.push(...(chunk.logprobs ?? []));
    last = chunk;
  }
  return { ...last, text, tokens, logprobs };
}

function answerOf(chunk: TextChunk): OutputsOf<Outputs> {
  const { text, tokens, finishReason = "", usage } = chunk;
  const logprobs = logprobTexts(chunk);
  return {
    text_output: tensor([1], [text]),
    finish_reason: tensor([1], [finishReason]),
    num_input_tokens: tensor([1], Uint32Array.of(usage?.promptTokens ?? 0)),
    num_output_tokens: tensor([1], Uint32Array.of(tokens.length)),
    logprobs: tensor([logprobs.length], logprobs, "BYTES"),
  };
}

/** One JSON text a token, as OpenAI's chat API has them; the end token, which has no text, is left out. */
function logprobTexts({ logprobs = [], finishReason }: TextChunk): string[] {
  const ends = finishReason === "stop" && logprobs.at(-1)?.text === "";
  const shown = ends ? logprobs.slice(0, -1) : logprobs;
  return shown.map(({ top, ...chosen }) =>
    JSON.stringify({ ...named(chosen), top_logprobs: top.map(named) }),
  );
}

function named({ text, logprob }: TextToken): { readonly token: string; readonly logprob: number } {
  return { token: text, logprob };
}
