import type { MessageInitShape } from "@bufbuild/protobuf";
import type {
  InferParameter,
  InferParameterSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { asObject, type JsonObject, malformed, member } from "./json-object.ts";

type Parameters = Record<string, MessageInitShape<typeof InferParameterSchema>>;

/** Reads the `parameters` of a JSON object: booleans, numbers and strings by name. */
export function decodeParameters(object: JsonObject, what: string): Parameters {
  const given = member(object, "parameters");
  if (given === undefined || given === null) return {};
  return Object.fromEntries(
    Object.entries(asObject(given, `"parameters" of ${what}`)).map(([name, value]) => [
      name,
      { parameterChoice: choice(value, name) },
    ]),
  );
}

function choice(value: unknown, name: string): Parameters[string]["parameterChoice"] & object {
  switch (typeof value) {
    case "boolean":
      return { case: "boolParam", value };
    case "string":
      return { case: "stringParam", value };
    case "bigint":
      return value >= 2n ** 63n
        ? { case: "uint64Param", value: BigInt.asUintN(64, value) }
        : { case: "int64Param", value: BigInt.asIntN(64, value) };
    case "number":
      return Number.isSafeInteger(value)
        ? { case: "int64Param", value: BigInt(value) }
        : { case: "doubleParam", value };
    default:
      throw malformed(`parameter "${name}" must be a boolean, a number or a string`);
  }
}

/** Writes parameters as a JSON text; `undefined` if there are none. */
export function encodeParameters(
  parameters: Readonly<Record<string, InferParameter>> | undefined,
): string | undefined {
  const entries = Object.entries(parameters ?? {});
  if (entries.length === 0) return undefined;
  const members = entries.map(([name, { parameterChoice }]) => {
    const { value } = parameterChoice;
    return `${JSON.stringify(name)}:${typeof value === "bigint" ? value.toString() : (JSON.stringify(value) ?? "null")}`;
  });
  return `{${members.join(",")}}`;
}
