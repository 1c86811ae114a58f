import { create } from "@bufbuild/protobuf";
import {
  type InferParameter,
  InferParameterSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { parameterInvalid } from "../../../server/errors/request-errors.ts";

/**
 * Value of a parameter to send: a whole number goes as int64, another number as double, a bigint as
 * int64 or, above its range, as uint64. `{ double: 1 }` sends a whole number as double.
 */
export type ParameterInput = boolean | number | bigint | string | { readonly double: number };

/** Value of a parameter of an answer; integers beyond 2^53 are bigints. */
export type ParameterValue = boolean | number | bigint | string;

const int64Max = 2n ** 63n - 1n;
const int64Min = -(2n ** 63n);
const uint64Max = 2n ** 64n - 1n;

/** Turns parameters into messages.
 * @throws TensorwireError `PARAMETER_INVALID` */
export function encodeParameters(
  parameters: Readonly<Record<string, ParameterInput>> | undefined,
): Record<string, InferParameter> {
  if (parameters === undefined) return {};
  return Object.fromEntries(
    Object.entries(parameters).map(([name, value]) => [
      name,
      create(InferParameterSchema, { parameterChoice: encodeChoice(name, value) }),
    ]),
  );
}

/** Turns messages into parameters; one without a value is left out. */
export function decodeParameters(
  parameters: Readonly<Record<string, InferParameter>>,
): Readonly<Record<string, ParameterValue>> {
  const values: [string, ParameterValue][] = [];
  for (const [name, { parameterChoice }] of Object.entries(parameters)) {
    const { value } = parameterChoice;
    if (value !== undefined) values.push([name, isSafeBigint(value) ? Number(value) : value]);
  }
  return Object.fromEntries(values);
}

function encodeChoice(name: string, value: ParameterInput): InferParameter["parameterChoice"] {
  switch (typeof value) {
    case "boolean":
      return { case: "boolParam", value };
    case "string":
      return { case: "stringParam", value };
    case "number":
      return Number.isSafeInteger(value)
        ? { case: "int64Param", value: BigInt(value) }
        : { case: "doubleParam", value };
    case "bigint":
      if (value >= int64Min && value <= int64Max) return { case: "int64Param", value };
      if (value > 0n && value <= uint64Max) return { case: "uint64Param", value };
      throw parameterInvalid(name, `${value}`, "an integer of 64 bits");
    case "object":
      if (typeof value?.double === "number") return { case: "doubleParam", value: value.double };
  }
  throw parameterInvalid(name, String(value), "a boolean, number, bigint, string or { double }");
}

function isSafeBigint(value: ParameterValue): value is bigint {
  return (
    typeof value === "bigint" &&
    value >= BigInt(Number.MIN_SAFE_INTEGER) &&
    value <= BigInt(Number.MAX_SAFE_INTEGER)
  );
}
