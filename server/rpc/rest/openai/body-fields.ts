import { parameterUnsupported } from "../../../errors/generation-errors.ts";
import { parameterInvalid } from "../../../errors/request-errors.ts";
import type { JsonObject } from "../json-object.ts";

/** A field of the body; what is null counts as left out, as in OpenAI's API. */
export function field(body: JsonObject, name: string): unknown {
  const value = Object.hasOwn(body, name) ? body[name] : undefined;
  return value === null ? undefined : value;
}

/** @throws TensorwireError `PARAMETER_INVALID` unless the field is a string that is not empty */
export function stringField(body: JsonObject, name: string): string {
  const value = field(body, name);
  if (typeof value === "string" && value !== "") return value;
  throw parameterInvalid(name, givenText(value), "a string");
}

/** @throws TensorwireError `PARAMETER_INVALID` unless the field is true, false or left out */
export function booleanField(body: JsonObject, name: string): boolean {
  const value = field(body, name) ?? false;
  if (typeof value === "boolean") return value;
  throw parameterInvalid(name, givenText(value), "true or false");
}

/**
 * @param low - smallest value that is taken; `high` the largest
 * @throws TensorwireError `PARAMETER_INVALID` unless the field is such an integer or left out
 */
export function integerField(
  body: JsonObject,
  name: string,
  { low, high }: { readonly low: number; readonly high: number },
): number | undefined {
  const value = field(body, name);
  if (value === undefined) return undefined;
  if (Number.isSafeInteger(value) && (value as number) >= low && (value as number) <= high) {
    return value as number;
  }
  const range = high === Number.MAX_SAFE_INTEGER ? `of ${low} or more` : `from ${low} to ${high}`;
  throw parameterInvalid(name, givenText(value), `an integer ${range}`);
}

/**
 * Refuses fields that are not acted on, and whose value is not the one that asks for nothing.
 *
 * @param known - fields that are acted on, or ignored
 * @throws TensorwireError `PARAMETER_UNSUPPORTED` that names the field
 */
export function refuseOthers(body: JsonObject, known: ReadonlySet<string>): void {
  for (const name of Object.keys(body)) {
    const value = field(body, name);
    if (value === undefined || known.has(name) || asksForNothing(name, value)) continue;
    throw parameterUnsupported(name, "this server does not act on it");
  }
}

/** Whether a field that is not acted on says what holds without it. */
function asksForNothing(name: string, value: unknown): boolean {
  switch (name) {
    case "response_format":
      return JSON.stringify(value) === '{"type":"text"}';
    case "modalities":
      return JSON.stringify(value) === '["text"]';
    case "tool_choice":
    case "function_call":
      return value === "none";
    default:
      // An empty list of tools, an empty logit_bias, an empty suffix.
      return (
        value === "" || (typeof value === "object" && Object.keys(value as object).length === 0)
      );
  }
}

/** A value as it stands in a message, cut short. */
export function givenText(value: unknown): string {
  if (value === undefined) return "nothing";
  const text =
    typeof value === "bigint" || typeof value === "number"
      ? String(value)
      : (JSON.stringify(value, bigintText) ?? typeof value);
  return text.length > 40 ? `${text.slice(0, 40)}...` : text;
}

function bigintText(_key: string, value: unknown): unknown {
  return typeof value === "bigint" ? value.toString() : value;
}
