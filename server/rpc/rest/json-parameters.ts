import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  InferParameter,
  InferParameterSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { parameterInvalid } from "../../errors/request-errors.ts";
import { asObject, type JsonObject, malformed, member } from "./json-object.ts";

/** Parameters of a request, as its message takes them. */
export type Parameters = Record<string, MessageInitShape<typeof InferParameterSchema>>;

/** Reads the `parameters` of a JSON object: booleans, numbers and strings by name. */
export function decodeParameters(object: JsonObject, what: string): Parameters {
  const given = member(object, "parameters");
  if (given === undefined || given === null) return {};
  return Object.fromEntries(
    Object.entries(asObject(given, `"parameters" of ${what}`)).map(([name, value]) => [
      name,
      jsonParameter(value, name),
    ]),
  );
}

/** @throws TensorwireError `REQUEST_MALFORMED` unless the value is a boolean, a number or a string */
export function jsonParameter(value: unknown, name: string): Parameters[string] {
  return { parameterChoice: choice(value, name) };
}

function choice(value: unknown, name: string): Parameters[string]["parameterChoice"] & object {
  switch (typeof value) {
    case "boolean":
      return { case: "boolParam", value };
    case "string":
      return { case: "stringParam", value };
    case "bigint":
      if (value < -(2n ** 63n) || value >= 2n ** 64n)
        throw malformed(`parameter "${name}" is ${value}, which 64 bits do not hold`);
      return value >= 2n ** 63n ? { case: "uint64Param", value } : { case: "int64Param", value };
    case "number":
      return Number.isSafeInteger(value)
        ? { case: "int64Param", value: BigInt(value) }
        : { case: "doubleParam", value };
    default:
      throw malformed(`parameter "${name}" must be a boolean, a number or a string`);
  }
}

/** Value of a parameter, whatever its type; `undefined` without it. */
export function parameterValue(
  parameters: Parameters,
  name: string,
): boolean | bigint | number | string | undefined {
  return Object.hasOwn(parameters, name) ? parameters[name]?.parameterChoice?.value : undefined;
}

/** @throws TensorwireError `PARAMETER_INVALID` unless the parameter is a boolean or absent */
export function booleanParameter(parameters: Parameters, name: string): boolean | undefined {
  const value = parameterValue(parameters, name);
  if (value !== undefined && typeof value !== "boolean")
    throw parameterInvalid(name, String(value), "true or false");
  return value;
}

/** Writes parameters as a JSON text; `undefined` if there are none. */
export function encodeParameters(
  parameters: Readonly<Record<string, InferParameter>> | undefined,
): string | undefined {
  const entries = Object.entries(parameters ?? {});
  if (entries.length === 0) return undefined;
  const members = entries.map(
    ([name, { parameterChoice }]) =>
      `${JSON.stringify(name)}:${parameterText(parameterChoice.value)}`,
  );
  return `{${members.join(",")}}`;
}

function parameterText(value: boolean | bigint | number | string | undefined): string {
  if (typeof value === "bigint") return value.toString();
  // As in the data of tensors: JSON has no number for these.
  if (typeof value === "number" && !Number.isFinite(value)) return `"${value}"`;
  return JSON.stringify(value) ?? "null";
}
