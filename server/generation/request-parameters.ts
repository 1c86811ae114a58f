import { messageOf } from "../errors/from-unknown.ts";
import { parameterInvalid } from "../errors/request-errors.ts";
import { parseLosslessJson } from "../tensor/json-data.ts";

type Values = Readonly<Record<string, unknown>>;

const numberNames: ReadonlySet<string> = new Set([
  "max_tokens",
  "temperature",
  "top_p",
  "top_k",
  "min_p",
  "repetition_penalty",
  "frequency_penalty",
  "presence_penalty",
  "logprobs",
]);

const numberText = /^-?\d+(\.\d+)?([eE][-+]?\d+)?$/;
const integerText = /^-?\d{1,20}$/;

/**
 * Parameters of a generation as a v2 request brings them, for `generate` to check: its request parameters,
 * and over them the members of the JSON object that Triton's vLLM backend takes as `sampling_parameters`.
 *
 * A request parameter is a boolean, a number or a string, so what those cannot say has a form in text:
 * several stop strings are a JSON array of strings in `stop`. Numbers may come as text, as vLLM's
 * examples write them.
 *
 * @param parameters - by name; integers may be bigint
 * @param samplingParameters - text of a JSON object
 * @throws TensorwireError `PARAMETER_INVALID` if that text is no JSON object
 */
export function parametersOfRequest(parameters: Values, samplingParameters?: string): Values {
  const sampling = samplingParameters === undefined ? {} : parseObject(samplingParameters);
  return Object.fromEntries(
    Object.entries({ ...parameters, ...sampling }).map(([name, value]) => [
      name,
      givenValue(name, value),
    ]),
  );
}

function parseObject(text: string): Values {
  const expected = "a JSON object";
  let value: unknown;
  try {
    value = parseLosslessJson(text);
  } catch (error) {
    throw parameterInvalid("sampling_parameters", messageOf(error), expected);
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Values;
  throw parameterInvalid("sampling_parameters", "JSON that is no object", expected);
}

function givenValue(name: string, value: unknown): unknown {
  if (name === "seed") {
    return typeof value === "string" && integerText.test(value) ? BigInt(value) : value;
  }
  if (name === "stop") return typeof value === "string" ? stopStrings(value) : value;
  if (name === "ignore_eos") return value === "true" ? true : value === "false" ? false : value;
  if (!numberNames.has(name)) return value;
  if (typeof value === "bigint") return Number(value);
  return typeof value === "string" && numberText.test(value) ? Number(value) : value;
}

/** A text that is not a JSON array of strings is a stop string itself. */
function stopStrings(text: string): unknown {
  if (!text.startsWith("[")) return text;
  try {
    const value: unknown = JSON.parse(text);
    return Array.isArray(value) && value.every((each) => typeof each === "string") ? value : text;
  } catch {
    // A stop string may well begin with a bracket.
    return text;
  }
}
