import { randomBytes } from "node:crypto";
import { parameterInvalid } from "../errors/request-errors.ts";
import { createGenerationLoop, type GenerationClock } from "./generation-loop.ts";
import type { ObserveGeneration } from "./generation-observation.ts";
import { checkParameters, type GenerationParameters } from "./generation-parameters.ts";
import type { CacheShape } from "./key-value-cache.ts";
import { createOnnxStepModel, type TensorSession } from "./onnx-step-model.ts";
import { type Choice, type RankedToken, samplingState } from "./sampler.ts";
import type { StepModel } from "./step-model.ts";
import { StopStrings } from "./stop-strings.ts";
import { type TextChunk, TextStream, type TokenLogprobs } from "./text-stream.ts";
import type { Vocabulary } from "./vocabulary.ts";

/** What every text generator needs. */
export interface GeneratorOptions {
  /** Name of the model, for messages. */
  readonly name: string;
  readonly vocabulary: Vocabulary;
  /** Generations that may wait for a slot. Default 64. */
  readonly maxWaiting?: number;
  /** Tokens of prompts in one step at most; a long prompt holds others up no longer. Default 64. */
  readonly prefillTokens?: number;
  /** Gets what happens, for metrics; `createGenerationStatistics().add` adds it up. */
  readonly observe?: ObserveGeneration;
  /** Default: the machine's. */
  readonly clock?: GenerationClock;
  /** Lets the rest of the thread have its turn between steps. Default: a turn of the event loop. */
  readonly turn?: () => Promise<void>;
  /** Called by `close` when no step is under way any more. */
  readonly release?: () => Promise<void>;
}

/** A generator over an ONNX graph with a cache of keys and values; see {@link createOnnxStepModel}. */
export interface TextGeneratorOptions extends GeneratorOptions, CacheShape {
  readonly session: TensorSession;
}

/** A generator over another kind of model. */
export interface StepModelGeneratorOptions extends GeneratorOptions {
  readonly model: StepModel;
}

/** What one generation has beside its parameters. */
export interface GenerateOptions {
  /** Ends the generation, which then finishes with `cancelled`. */
  readonly signal?: AbortSignal | undefined;
  /** Time until it fails with `DEADLINE_EXCEEDED`, also while it waits for a slot. */
  readonly timeoutMs?: number | undefined;
}

/** Chunks of one generation for one reader. */
export interface Generation extends AsyncIterableIterator<TextChunk> {
  /** Ends it; the reader still gets what there is, and the reason `cancelled`. */
  cancel(): void;
}

/** Generates texts, several at once. */
export interface TextGenerator {
  /**
   * Begins a generation, at once or when a slot is free, whether it is read or not. Leaving the loop over
   * it cancels it.
   *
   * @param prompt - text, before which the start token is put, or all tokens
   * @throws TensorwireError at once: `PARAMETER_INVALID`, `QUEUE_FULL`, `MODEL_NOT_READY` after `close`;
   *   from the iteration: `DEADLINE_EXCEEDED`, `MODEL_EXECUTION_FAILED`, `MODEL_NOT_READY`
   */
  generate(
    prompt: string | readonly number[],
    parameters?: GenerationParameters | Readonly<Record<string, unknown>>,
    options?: GenerateOptions,
  ): Generation;
  /** Fails all generations with `MODEL_NOT_READY`; resolves when the session is released. */
  close(): Promise<void>;
}

const defaults = { maxWaiting: 64, prefillTokens: 64 } as const;

const machineClock: GenerationClock = {
  now: () => performance.now(),
  after(ms, action) {
    // A longer wait than a timer can have is none that anybody sees the end of.
    const timer = setTimeout(action, Math.min(ms, 2 ** 31 - 1));
    timer.unref();
    return () => clearTimeout(timer);
  },
};

const eventLoopTurn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Makes a generator over an ONNX graph. */
export function createTextGenerator(options: TextGeneratorOptions): TextGenerator {
  const model = createOnnxStepModel({ ...options, vocabularySize: options.vocabulary.size });
  return createStepModelGenerator({ ...options, model });
}

/** Makes a generator over a {@link StepModel}. */
export function createStepModelGenerator(options: StepModelGeneratorOptions): TextGenerator {
  const { model, vocabulary } = options;
  const loop = createGenerationLoop({
    model,
    name: options.name,
    maxWaiting: options.maxWaiting ?? defaults.maxWaiting,
    prefillTokens: options.prefillTokens ?? defaults.prefillTokens,
    clock: options.clock ?? machineClock,
    turn: options.turn ?? eventLoopTurn,
    observe: options.observe ?? (() => {}),
  });
  const ends = new Set(vocabulary.endTokens);
  let closed: Promise<void> | undefined;
  const named = ({ token, logprob }: RankedToken) => ({
    token,
    text: vocabulary.textOf(token),
    logprob,
  });
  const logprobsOf = ({ token, logprob, top }: Choice): TokenLogprobs | undefined =>
    logprob === undefined ? undefined : { ...named({ token, logprob }), top: top.map(named) };

  return {
    generate(prompt, given = {}, { signal, timeoutMs } = {}) {
      const parameters = checkParameters(given, randomSeed);
      const tokens = promptTokens(prompt, vocabulary, model);
      const decoder = vocabulary.decoder();
      const stops = new StopStrings(parameters.stop);
      let generatedTokens = 0;
      let stopString = false;
      let cancel = () => {};
      const stream = new TextStream(() => cancel());
      const usage = () => ({ promptTokens: tokens.length, generatedTokens });
      if (signal?.aborted) {
        stream.finish("cancelled", usage());
        return stream;
      }
      const ended = () => signal?.removeEventListener("abort", onAbort);
      const onAbort = () => cancel();
      cancel = loop.submit({
        prompt: tokens,
        maxTokens: parameters.maxTokens,
        sampling: samplingState(parameters, tokens),
        timeoutMs,
        accept(choice) {
          generatedTokens++;
          stream.addToken(choice.token, logprobsOf(choice));
          if (ends.has(choice.token) && !parameters.ignoreEnd) return "stop";
          const { text, stopped } = stops.push(decoder.push(choice.token));
          stream.addText(text);
          if (stopped) stopString = true;
          return stopped ? "stop" : "more";
        },
        finished(reason) {
          ended();
          // What was held back was no stop string after all; after one there is nothing to be had.
          if (!stopString) {
            const { text, stopped } = stops.push(decoder.end());
            stream.addText(stopped ? text : text + stops.end());
          }
          stream.finish(reason, usage());
        },
        failed(error) {
          ended();
          stream.fail(error);
        },
      });
      signal?.addEventListener("abort", onAbort, { once: true });
      return stream;
    },
    async close() {
      await loop.close();
      closed ??= options.release?.();
      await closed;
    },
  };
}

function promptTokens(
  prompt: string | readonly number[],
  vocabulary: Vocabulary,
  { contextLength }: StepModel,
): readonly number[] {
  const { startToken, size } = vocabulary;
  let tokens: readonly number[];
  if (typeof prompt === "string") {
    const text = vocabulary.encode(prompt);
    tokens = startToken === undefined ? text : [startToken, ...text];
  } else {
    tokens = prompt;
    const wrong = tokens.find((token) => !(Number.isInteger(token) && token >= 0 && token < size));
    if (wrong !== undefined) {
      throw parameterInvalid("prompt", `token ${wrong}`, `tokens from 0 to ${size - 1}`);
    }
  }
  if (tokens.length === 0) throw parameterInvalid("prompt", "no tokens", "at least one");
  if (tokens.length >= contextLength) {
    const expected = `at most ${contextLength - 1}, so that the context has room for one more`;
    throw parameterInvalid("prompt", `${tokens.length} tokens`, expected);
  }
  return tokens;
}

function randomSeed(): bigint {
  return randomBytes(8).readBigInt64LE();
}
