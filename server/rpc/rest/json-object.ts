import { messageOf } from "../../errors/from-unknown.ts";
import { TensorwireError } from "../../errors/tensorwire-error.ts";
import { parseLosslessJson } from "../../tensor/json-data.ts";

/** A JSON object as it was parsed; its members are checked when they are read. */
export type JsonObject = Readonly<Record<string, unknown>>;

const decoder = new TextDecoder("utf-8", { fatal: true });

/**
 * Parses a JSON object.
 *
 * @param bytes - empty counts as `{}`
 * @throws TensorwireError `REQUEST_MALFORMED` with the place
 */
export function parseJsonObject(bytes: Uint8Array): JsonObject {
  if (bytes.byteLength === 0) return {};
  let value: unknown;
  try {
    value = parseLosslessJson(decoder.decode(bytes));
  } catch (error) {
    throw malformed(`the body is not JSON: ${messageOf(error)}`, error);
  }
  return asObject(value, "the body");
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
