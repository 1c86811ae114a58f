import { parameterInvalid } from "../errors/request-errors.ts";

/**
 * What a caller may ask of a generation, by the names and meanings of OpenAI's and vLLM's APIs. What is
 * left out or null has its default.
 */
export interface GenerationParameters {
  /** Tokens to generate at most, from 1; default, and the most there can be: the room in the context. */
  readonly max_tokens?: number | null;
  /** 0 to 2, default 1; 0 always takes the likeliest token. */
  readonly temperature?: number | null;
  /** 0 to 1, default 1: only the likeliest tokens that make up this share, at least one. */
  readonly top_p?: number | null;
  /** Only this many of the likeliest tokens; 0 and -1, the default: all. */
  readonly top_k?: number | null;
  /** 0 to 1, default 0: only tokens at least this share as likely as the likeliest. */
  readonly min_p?: number | null;
  /** Above 0, default 1: divides what speaks for tokens of the prompt and of the text so far. */
  readonly repetition_penalty?: number | null;
  /** -2 to 2, default 0: taken from a token's logit for each time that it was generated. */
  readonly frequency_penalty?: number | null;
  /** -2 to 2, default 0: taken from a token's logit once it was generated. */
  readonly presence_penalty?: number | null;
  /** Integer of 64 bits; the same seed gives the same text. Default: a random one. */
  readonly seed?: number | bigint | null;
  /** Up to {@link maxStopStrings} strings that end the text, and do not stand in it. */
  readonly stop?: string | readonly string[] | null;
  /** 0 to {@link maxLogprobs}: gives the chosen token's logarithm of probability, and that of as many of the likeliest. */
  readonly logprobs?: number | null;
  /** Goes on after an end token; for measurements. */
  readonly ignore_eos?: boolean | null;
}

/** Stop strings that a generation may have. */
export const maxStopStrings = 16;

/** Length that a stop string may have, in UTF-16 units: as much text is held back at most. */
export const maxStopLength = 256;

/** Alternatives that may be asked for with each token. */
export const maxLogprobs = 20;

/** Parameters with their defaults, checked. */
export interface CheckedParameters {
  /** `Infinity` if it was not given. */
  readonly maxTokens: number;
  readonly temperature: number;
  readonly topP: number;
  /** 0 is all. */
  readonly topK: number;
  readonly minP: number;
  readonly repetitionPenalty: number;
  readonly frequencyPenalty: number;
  readonly presencePenalty: number;
  readonly seed: bigint;
  readonly stop: readonly string[];
  /** `undefined` if none are asked for. */
  readonly logprobs: number | undefined;
  readonly ignoreEnd: boolean;
}

const names = [
  "max_tokens",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repetition_penalty",
  "frequency_penalty",
  "presence_penalty",
  "seed",
  "stop",
  "logprobs",
  "ignore_eos",
] as const satisfies readonly (keyof GenerationParameters)[];

/** Names of all parameters: what to pick out of a request that holds other things too. */
export const generationParameterNames: readonly (keyof GenerationParameters)[] = names;

/**
 * Checks parameters from outside, of whatever type, and fills in defaults.
 *
 * @param randomSeed - called if no seed is given
 * @throws TensorwireError `PARAMETER_INVALID` that names the parameter, what was given and what is expected
 */
export function checkParameters(
  given: Readonly<Record<string, unknown>> | GenerationParameters,
  randomSeed: () => bigint,
): CheckedParameters {
  const values = given as Readonly<Record<string, unknown>>;
  for (const name of Object.keys(values)) {
    if (!(names as readonly string[]).includes(name)) {
      throw parameterInvalid(name, "a parameter of this name", `one of ${names.join(", ")}`);
    }
  }
  const number = (name: string, low: number, high: number, otherwise: number): number => {
    const value = values[name] ?? otherwise;
    if (typeof value === "number" && value >= low && value <= high) return value;
    throw parameterInvalid(name, textOf(value), `a number from ${low} to ${high}`);
  };
  const integer = (name: string, low: number, high: number): number | undefined => {
    const value = values[name] ?? undefined;
    if (value === undefined) return undefined;
    if (Number.isInteger(value) && (value as number) >= low && (value as number) <= high) {
      return value as number;
    }
    const range = high === Number.MAX_SAFE_INTEGER ? `of ${low} or more` : `from ${low} to ${high}`;
    throw parameterInvalid(name, textOf(value), `an integer ${range}`);
  };

  const repetitionPenalty = values.repetition_penalty ?? 1;
  if (
    typeof repetitionPenalty !== "number" ||
    !(repetitionPenalty > 0 && repetitionPenalty <= 100)
  ) {
    const expected = "a number above 0, at most 100";
    throw parameterInvalid("repetition_penalty", textOf(repetitionPenalty), expected);
  }
  const ignoreEnd = values.ignore_eos ?? false;
  if (typeof ignoreEnd !== "boolean") {
    throw parameterInvalid("ignore_eos", textOf(ignoreEnd), "true or false");
  }
  return {
    maxTokens: integer("max_tokens", 1, Number.MAX_SAFE_INTEGER) ?? Number.POSITIVE_INFINITY,
    temperature: number("temperature", 0, 2, 1),
    topP: number("top_p", 0, 1, 1),
    topK: Math.max(0, integer("top_k", -1, Number.MAX_SAFE_INTEGER) ?? 0),
    minP: number("min_p", 0, 1, 0),
    repetitionPenalty,
    frequencyPenalty: number("frequency_penalty", -2, 2, 0),
    presencePenalty: number("presence_penalty", -2, 2, 0),
    seed: readSeed(values.seed) ?? randomSeed(),
    stop: readStop(values.stop),
    logprobs: integer("logprobs", 0, maxLogprobs),
    ignoreEnd,
  };
}

function readSeed(value: unknown): bigint | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === "bigint" && value === BigInt.asIntN(64, value)) return value;
  if (Number.isSafeInteger(value)) return BigInt(value as number);
  throw parameterInvalid("seed", textOf(value), "an integer from -2^63 to 2^63 - 1");
}

function readStop(value: unknown): readonly string[] {
  if (value === undefined || value === null) return [];
  const stops: readonly unknown[] = Array.isArray(value) ? value : [value];
  const expected = `a string or up to ${maxStopStrings} strings, each of 1 to ${maxStopLength} characters`;
  if (stops.length > maxStopStrings) {
    throw parameterInvalid("stop", `${stops.length} strings`, expected);
  }
  for (const stop of stops) {
    if (typeof stop === "string" && stop.length > 0 && stop.length <= maxStopLength) continue;
    throw parameterInvalid("stop", textOf(stop), expected);
  }
  return stops as readonly string[];
}

/** A value from outside as it stands in a message, cut short. */
function textOf(value: unknown): string {
  const text =
    typeof value === "string" || (typeof value === "object" && value !== null)
      ? JSON.stringify(value)
      : String(value);
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}
