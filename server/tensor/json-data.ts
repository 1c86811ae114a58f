import {
  nestedDeeper,
  shapeInvalid,
  shapeMismatchedNesting,
  tensorElementsMismatch,
  tensorValueInvalid,
} from "../errors/tensor-errors.ts";
import type { Datatype, FixedSizeDatatype } from "./datatype.ts";
import { bf16ToNumber, fp16ToNumber, numberToBf16, numberToFp16 } from "./half.ts";
import { elementCount } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { allocateTypedArray, bytesOf, viewTypedArray } from "./typed-array.ts";

const encoder = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const integerRanges: Partial<Record<Datatype, readonly [bigint, bigint]>> = {
  UINT8: [0n, 0xffn],
  UINT16: [0n, 0xffffn],
  UINT32: [0n, 0xffff_ffffn],
  UINT64: [0n, 2n ** 64n - 1n],
  INT8: [-0x80n, 0x7fn],
  INT16: [-0x8000n, 0x7fffn],
  INT32: [-(2n ** 31n), 2n ** 31n - 1n],
  INT64: [-(2n ** 63n), 2n ** 63n - 1n],
};

/** Deepest nesting that is read. */
const maxRank = 64;

/** Values that JSON has no number for, as they are written in its strings. */
const nonFinite: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

/**
 * Parses JSON like JSON.parse, with integers beyond 2^53 as bigint, so that INT64 and UINT64 lose
 * nothing.
 *
 * @throws SyntaxError
 */
export function parseLosslessJson(text: string): unknown {
  // A reviver costs more than the parse itself, and numbers of 16 digits are rare.
  if (!/\d{16}/.test(text)) return JSON.parse(text);
  return JSON.parse(text, ((_key: string, value: unknown, context?: { source?: string }) => {
    const source = context?.source;
    if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
    return source !== undefined && /^-?\d+$/.test(source) ? BigInt(source) : value;
  }) as (key: string, value: unknown) => unknown);
}

/**
 * Reads the data of a tensor from JSON: flat, or nested as the shape.
 *
 * @param data - array, or a bare value for a scalar; numbers, booleans for BOOL, strings for BYTES;
 * "NaN", "Infinity" and "-Infinity" for floats
 * @throws TensorwireError `TENSOR_ELEMENTS_MISMATCH`, `TENSOR_VALUE_INVALID`, `SHAPE_MISMATCH`
 */
export function decodeJsonData(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  data: unknown,
): Tensor {
  if (shape.length > maxRank) throw shapeInvalid(name, `of ${shape.length} dimensions`);
  const count = elementCount(shape);
  const flat = flatten(name, shape, count, data);
  if (datatype === "BYTES") {
    const elements = flat.map((value, index) => {
      if (typeof value !== "string")
        throw tensorValueInvalid(name, index, describe(value), "a string, for BYTES");
      return encoder.encode(value);
    });
    return { name, datatype, shape, elements };
  }
  const array = allocateTypedArray(datatype, count);
  const target = array as { [index: number]: number | bigint };
  for (let index = 0; index < count; index++)
    target[index] = toElement(name, datatype, index, flat[index]);
  return { name, datatype, shape, bytes: bytesOf(array) };
}

/** Flat view of the data; checks nesting against the shape. */
function flatten(
  name: string,
  shape: readonly number[],
  count: number,
  data: unknown,
): readonly unknown[] {
  if (!Array.isArray(data)) {
    if (shape.length === 0) return [data];
    throw tensorValueInvalid(name, 0, describe(data), "an array of values");
  }
  // An empty tensor may be nested in many ways, all of them without an element.
  if (!Array.isArray(data[0])) {
    if (data.length !== count) throw tensorElementsMismatch(name, data.length, count);
    return data;
  }
  const flat: unknown[] = [];
  const walk = (level: readonly unknown[], axis: number): void => {
    if (level.length !== shape[axis]) throw shapeMismatchedNesting(name, axis, level.length, shape);
    if (axis === shape.length - 1) {
      for (const value of level) {
        if (Array.isArray(value)) throw nestedDeeper(name, shape);
        flat.push(value);
      }
      return;
    }
    for (const part of level) {
      if (!Array.isArray(part)) throw shapeMismatchedNesting(name, axis + 1, 0, shape);
      walk(part, axis + 1);
    }
  };
  walk(data, 0);
  return flat;
}

function toElement(
  name: string,
  datatype: FixedSizeDatatype,
  index: number,
  value: unknown,
): number | bigint {
  switch (datatype) {
    case "BOOL":
      if (value === true || value === 1) return 1;
      if (value === false || value === 0) return 0;
      throw tensorValueInvalid(name, index, describe(value), "true or false, for BOOL");
    case "FP16":
      return numberToFp16(toFloat(name, datatype, index, value));
    case "BF16":
      return numberToBf16(toFloat(name, datatype, index, value));
    case "FP32":
    case "FP64":
      return toFloat(name, datatype, index, value);
    default: {
      const [min, max] = integerRanges[datatype]!;
      const whole =
        typeof value === "bigint" || (typeof value === "number" && Number.isInteger(value));
      if (!whole || value < min || value > max) {
        throw tensorValueInvalid(
          name,
          index,
          describe(value),
          `a whole number from ${min} to ${max}, for ${datatype}`,
        );
      }
      return datatype === "INT64" || datatype === "UINT64" ? BigInt(value) : Number(value);
    }
  }
}

function toFloat(name: string, datatype: Datatype, index: number, value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "string" && Object.hasOwn(nonFinite, value)) return nonFinite[value]!;
  throw tensorValueInvalid(
    name,
    index,
    describe(value),
    `a number, "NaN", "Infinity" or "-Infinity", for ${datatype}`,
  );
}

/**
 * Writes the elements of a tensor as JSON texts, row-major. Floats are written with all their digits;
 * integers of 64 bits as numbers, which a reader must not take for doubles.
 *
 * @throws TensorwireError `TENSOR_VALUE_INVALID` for a BYTES element that is not UTF-8
 */
export function jsonElements(tensor: Tensor): string[] {
  const { name, datatype } = tensor;
  if (tensor.elements) {
    return tensor.elements.map((element, index) => {
      try {
        return JSON.stringify(strictUtf8.decode(element));
      } catch {
        // The decoder's own message says no more than this.
        throw tensorValueInvalid(
          name,
          index,
          "bytes that are not UTF-8",
          "UTF-8 for a JSON answer; ask for binary data",
        );
      }
    });
  }
  const array = viewTypedArray(name, tensor.datatype, tensor.bytes, tensor.shape);
  const texts = new Array<string>(array.length);
  for (let index = 0; index < array.length; index++) {
    const value = array[index]!;
    texts[index] =
      datatype === "BOOL"
        ? String(value !== 0)
        : datatype === "FP16"
          ? numberText(fp16ToNumber(Number(value)))
          : datatype === "BF16"
            ? numberText(bf16ToNumber(Number(value)))
            : typeof value === "bigint"
              ? value.toString()
              : numberText(value);
  }
  return texts;
}

function numberText(value: number): string {
  // JSON has no -0 in JSON.stringify's eyes; the sign is kept here.
  if (Object.is(value, -0)) return "-0";
  return Number.isFinite(value) ? String(value) : `"${value}"`;
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "an array" : "an object";
  const text = typeof value === "bigint" ? value.toString() : JSON.stringify(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
