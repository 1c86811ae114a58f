import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { parseLosslessJson } from "../../tensor/json-data.ts";
import { findSyntaxProblem, nestsDeeper } from "./json-syntax.ts";

/** A JSON object as it was parsed; its members are checked when they are read. */
export type JsonObject = Readonly<Record<string, unknown>>;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Deepest nesting of a body: a tensor of the highest rank has room, and recursion stays shallow. */
const maxJsonDepth = 100;

/**
 * Parses a JSON object.
 *
 * @param bytes - empty counts as `{}`
 * @throws TensorwireError `REQUEST_MALFORMED` with the place
 */
export function parseJsonObject(bytes: Uint8Array): JsonObject {
  if (bytes.byteLength === 0) return {};
  const text = decodeText(bytes);
  if (nestsDeeper(text, maxJsonDepth))
    throw malformed(`the body is JSON nested deeper than ${maxJsonDepth} levels`);
  let value: unknown;
  try {
    value = parseLosslessJson(text);
  } catch (error) {
    throw malformed(`the body is not JSON: ${describeProblem(text)}`, error);
  }
  return asObject(value, "the body");
}

function decodeText(bytes: Uint8Array): string {
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw malformed("the body is not JSON: its bytes are not UTF-8", error);
  }
}

function describeProblem(text: string): string {
  const problem = findSyntaxProblem(text);
  if (!problem) return "it cannot be parsed";
  const { position, expected } = problem;
  const given = text.slice(position, position + 1);
  const before = text.slice(0, position);
  const line = before.split("\n").length;
  const column = position - before.lastIndexOf("\n");
  return `got ${given === "" ? "the end" : JSON.stringify(given)} at position ${position} (line ${line}, column ${column}), expected ${expected}`;
}

/** @throws TensorwireError `REQUEST_MALFORMED` unless the value is an object */
export function asObject(value: unknown, what: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw malformed(`${what} must be a JSON object`);
  return value as JsonObject;
}

/** @throws TensorwireError `REQUEST_MALFORMED` unless the member is an array or absent */
export function arrayMember(object: JsonObject, key: string, what: string): readonly unknown[] {
  const value = member(object, key) ?? [];
  if (!Array.isArray(value)) throw malformed(`"${key}" of ${what} must be an array`);
  return value;
}

/** @throws TensorwireError `REQUEST_MALFORMED` unless the member is a string, or absent and not required */
export function stringMember(
  object: JsonObject,
  key: string,
  what: string,
  otherwise?: string,
): string {
  const value = member(object, key) ?? otherwise;
  if (typeof value !== "string") throw malformed(`"${key}" of ${what} must be a string`);
  return value;
}

/** A member of the object itself, not of its prototype. */
export function member(object: JsonObject, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined;
}

/** Error for a body that is not what the protocol says. */
export function malformed(message: string, cause?: unknown): TensorwireError {
  return new TensorwireError("REQUEST_MALFORMED", message, {}, { cause });
}
