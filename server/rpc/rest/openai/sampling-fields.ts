import { parameterInvalid } from "../../../errors/request-errors.ts";
import { asObject, type JsonObject } from "../json-object.ts";
import { booleanField, field, givenText, integerField, refuseOthers } from "./body-fields.ts";

/** Value of a request parameter. */
export type ParameterValue = boolean | bigint | number | string;

/** What both of OpenAI's ways to ask for text have in common. */
export interface TextRequest {
  readonly model: string;
  /** Prompts, each of which gets `n` texts. */
  readonly prompts: readonly string[];
  readonly n: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** Request parameters for the model, save the seed. */
  readonly parameters: Readonly<Record<string, ParameterValue>>;
  /** The first text's; each of the others has the next number. */
  readonly seed: bigint | undefined;
}

/** Numbers that go to the model as they are; it says what it takes. */
const numbers = [
  "temperature",
  "top_p",
  "min_p",
  "frequency_penalty",
  "presence_penalty",
  "repetition_penalty",
] as const;

/** Fields that say nothing to a model of this server. */
const ignored = [
  "user",
  "metadata",
  "store",
  "service_tier",
  "safety_identifier",
  "prompt_cache_key",
  "prompt_cache_retention",
  "parallel_tool_calls",
] as const;

const common = [
  "model",
  "n",
  "stream",
  "stream_options",
  "stop",
  "seed",
  "top_k",
  "ignore_eos",
] as const;

/** Texts that one request may ask for. */
const mostTexts = 64;

const int64 = { low: -(2n ** 63n), high: 2n ** 63n - 1n };

/**
 * Reads the fields that completions and chat have in common.
 *
 * @param own - fields that the caller reads itself
 * @throws TensorwireError `PARAMETER_INVALID`, `PARAMETER_UNSUPPORTED`
 */
export function readSampling(
  body: JsonObject,
  prompts: readonly string[],
  own: readonly string[],
): Omit<TextRequest, "model"> {
  refuseOthers(body, new Set([...common, ...numbers, ...ignored, ...own]));
  const n = integerField(body, "n", { low: 1, high: mostTexts }) ?? 1;
  if (n * prompts.length > mostTexts) {
    const given = `${n} texts for each of ${prompts.length} prompts`;
    throw parameterInvalid("n", given, `at most ${mostTexts} texts in all`);
  }
  const parameters: Record<string, ParameterValue> = {};
  for (const name of numbers) {
    const value = field(body, name);
    if (value === undefined) continue;
    if (typeof value !== "number") throw parameterInvalid(name, givenText(value), "a number");
    parameters[name] = value;
  }
  const topK = integerField(body, "top_k", { low: -1, high: Number.MAX_SAFE_INTEGER });
  if (topK !== undefined) parameters.top_k = BigInt(topK);
  if (booleanField(body, "ignore_eos")) parameters.ignore_eos = true;
  const stop = stopStrings(body);
  // Always as a list, so that a stop string that looks like one is taken for what it is.
  if (stop.length > 0) parameters.stop = JSON.stringify(stop);
  const stream = booleanField(body, "stream");
  return { prompts, n, stream, includeUsage: wantsUsage(body), parameters, seed: readSeed(body) };
}

function stopStrings(body: JsonObject): readonly string[] {
  const value = field(body, "stop") ?? [];
  const list: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (list.every((each) => typeof each === "string" && each !== "")) return list as string[];
  throw parameterInvalid("stop", givenText(value), "a string or strings that are not empty");
}

function readSeed(body: JsonObject): bigint | undefined {
  const value = field(body, "seed");
  if (value === undefined) return undefined;
  const seed =
    typeof value === "bigint" || Number.isSafeInteger(value) ? BigInt(value as number) : undefined;
  if (seed !== undefined && seed >= int64.low && seed <= int64.high) return seed;
  throw parameterInvalid("seed", givenText(value), "an integer from -2^63 to 2^63 - 1");
}

function wantsUsage(body: JsonObject): boolean {
  const value = field(body, "stream_options");
  if (value === undefined) return false;
  const options = asObject(value, '"stream_options" of the body');
  refuseOthers(options, new Set(["include_usage", "include_obfuscation"]));
  return booleanField(options, "include_usage");
}
