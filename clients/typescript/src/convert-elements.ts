import { tensorValueInvalid } from "../../../server/errors/tensor-errors.ts";
import type { FixedSizeDatatype } from "../../../server/tensor/datatype.ts";
import { numberToBf16, numberToFp16 } from "../../../server/tensor/half.ts";
import {
  allocateTypedArray,
  type TypedArray,
  type TypedArrayOf,
} from "../../../server/tensor/typed-array.ts";

/** Smallest and largest value of the integers that are numbers in JavaScript. */
const integerRanges = {
  UINT8: [0, 0xff],
  UINT16: [0, 0xffff],
  UINT32: [0, 0xffff_ffff],
  INT8: [-0x80, 0x7f],
  INT16: [-0x8000, 0x7fff],
  INT32: [-0x8000_0000, 0x7fff_ffff],
} as const;

/** Smallest and largest value of the integers that are bigints in JavaScript. */
const bigintRanges = {
  UINT64: [0n, 2n ** 64n - 1n],
  INT64: [-(2n ** 63n), 2n ** 63n - 1n],
} as const;

/** Largest finite value of the floats that are narrower than a JavaScript number. */
const floatLimits = { FP16: 65504, BF16: 3.3895313892515355e38, FP32: 3.4028234663852886e38 };

/**
 * Converts values one by one to the typed array of a datatype; copies. Floats round to the nearest
 * value; everything else must be exact.
 *
 * @param tensor - name for messages
 * @throws TensorwireError `TENSOR_VALUE_INVALID` for the first value that the datatype cannot hold
 */
export function convertElements<D extends FixedSizeDatatype>(
  tensor: string,
  datatype: D,
  values: ArrayLike<unknown>,
): TypedArrayOf[D] {
  const array = allocateTypedArray(datatype, values.length);
  const convert = converters[datatype];
  // One datatype decides both sides: bigints for the 64-bit integers, numbers for the rest.
  const target = array as TypedArray as { [index: number]: number | bigint };
  for (let index = 0; index < values.length; index++) {
    const converted = convert(values[index]);
    if (converted === undefined) {
      throw tensorValueInvalid(tensor, index, describe(values[index]), expectation(datatype));
    }
    target[index] = converted;
  }
  return array;
}

/** Gives the element as the typed array takes it, or `undefined` if the datatype has no such value. */
type Converter = (value: unknown) => number | bigint | undefined;

const converters: Readonly<Record<FixedSizeDatatype, Converter>> = {
  BOOL: toBool,
  UINT8: (value) => toInteger(value, integerRanges.UINT8),
  UINT16: (value) => toInteger(value, integerRanges.UINT16),
  UINT32: (value) => toInteger(value, integerRanges.UINT32),
  UINT64: (value) => toBigint(value, bigintRanges.UINT64),
  INT8: (value) => toInteger(value, integerRanges.INT8),
  INT16: (value) => toInteger(value, integerRanges.INT16),
  INT32: (value) => toInteger(value, integerRanges.INT32),
  INT64: (value) => toBigint(value, bigintRanges.INT64),
  FP16: (value) => {
    const float = toFloat(value);
    if (float === undefined) return undefined;
    const pattern = numberToFp16(float);
    return overflows(float, (pattern & 0x7fff) === 0x7c00) ? undefined : pattern;
  },
  BF16: (value) => {
    const float = toFloat(value);
    if (float === undefined) return undefined;
    const pattern = numberToBf16(float);
    return overflows(float, (pattern & 0x7fff) === 0x7f80) ? undefined : pattern;
  },
  FP32: (value) => {
    const float = toFloat(value);
    if (float === undefined) return undefined;
    return overflows(float, Math.abs(Math.fround(float)) === Number.POSITIVE_INFINITY)
      ? undefined
      : float;
  },
  FP64: toFloat,
};

function toBool(value: unknown): number | undefined {
  if (value === true || value === 1 || value === 1n) return 1;
  if (value === false || value === 0 || value === 0n) return 0;
  return undefined;
}

function toInteger(value: unknown, [min, max]: readonly [number, number]): number | undefined {
  const number = typeof value === "bigint" ? Number(value) : value;
  if (typeof number !== "number" || !Number.isInteger(number)) return undefined;
  return number >= min && number <= max ? number : undefined;
}

function toBigint(value: unknown, [min, max]: readonly [bigint, bigint]): bigint | undefined {
  // A number beyond 2^53 has lost digits already, so only a bigint may say one.
  if (typeof value === "number" && !Number.isSafeInteger(value)) return undefined;
  if (typeof value !== "number" && typeof value !== "bigint") return undefined;
  const bigint = BigInt(value);
  return bigint >= min && bigint <= max ? bigint : undefined;
}

function toFloat(value: unknown): number | undefined {
  if (typeof value === "number") return value;
  return typeof value === "bigint" ? Number(value) : undefined;
}

function overflows(value: number, becameInfinite: boolean): boolean {
  return becameInfinite && Number.isFinite(value);
}

function expectation(datatype: FixedSizeDatatype): string {
  switch (datatype) {
    case "BOOL":
      return "BOOL, true or false";
    case "UINT8":
    case "UINT16":
    case "UINT32":
    case "INT8":
    case "INT16":
    case "INT32":
      return `${datatype}, an integer from ${integerRanges[datatype].join(" to ")}`;
    case "UINT64":
    case "INT64":
      return `${datatype}, an integer from ${bigintRanges[datatype].join(" to ")}; beyond 2^53 as a bigint`;
    case "FP16":
    case "BF16":
    case "FP32":
      return `${datatype}, a number of at most ${floatLimits[datatype]} in size`;
    case "FP64":
      return "FP64, a number";
  }
}

function describe(value: unknown): string {
  switch (typeof value) {
    case "string":
      return JSON.stringify(value);
    case "bigint":
      return `${value}n`;
    case "object":
      return value === null ? "null" : "an object";
    default:
      return String(value);
  }
}
