import {
  nestedDeeper,
  shapeInvalid,
  shapeMismatchedNesting,
  tensorElementsMismatch,
  tensorValueInvalid,
} from "../errors/tensor-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import { joinBytesElements } from "./bytes-elements.ts";
import type { Datatype, FixedSizeDatatype } from "./datatype.ts";
import { bf16ToNumber, fp16ToNumber, numberToBf16, numberToFp16 } from "./half.ts";
import { elementCount } from "./shape.ts";
import type { Tensor } from "./tensor.ts";
import { allocateTypedArray, bytesOf, type TypedArray, viewTypedArray } from "./typed-array.ts";

const encoder = new TextEncoder();
const strictUtf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Smallest and largest value; numbers where a double holds both. */
const integerRanges = {
  UINT8: [0, 0xff],
  UINT16: [0, 0xffff],
  UINT32: [0, 0xffff_ffff],
  UINT64: [0n, 2n ** 64n - 1n],
  INT8: [-0x80, 0x7f],
  INT16: [-0x8000, 0x7fff],
  INT32: [-(2 ** 31), 2 ** 31 - 1],
  INT64: [-(2n ** 63n), 2n ** 63n - 1n],
} as const;

/** Deepest nesting that is read. */
const maxRank = 64;

/** Elements in one text of {@link jsonChunks}. */
const chunkElements = 8192;

/** Values that JSON has no number for, as they are written in its strings. */
const nonFinite: Readonly<Record<string, number>> = {
  NaN: Number.NaN,
  Infinity: Number.POSITIVE_INFINITY,
  "-Infinity": Number.NEGATIVE_INFINITY,
};

/** An integer that a double may not hold. Fractions of floats have as many digits, and do not match. */
const longInteger = /(?:^|[^\d.])\d{16,}(?![\d.eE])/;

/**
 * Parses JSON like JSON.parse, with integers beyond 2^53 as bigint, so that INT64 and UINT64 lose
 * nothing. Integers of more than 21 digits, which no datatype holds, stay doubles.
 *
 * @throws SyntaxError
 */
export function parseLosslessJson(text: string): unknown {
  const value: unknown = JSON.parse(text);
  // Reading the digits takes many times as long as the parse, so it is done only where some were lost.
  if (!holdsUnsafeInteger(value) || !longInteger.test(text)) return value;
  return JSON.parse(text, keepDigits as (key: string, value: unknown) => unknown);
}

function holdsUnsafeInteger(value: unknown): boolean {
  if (typeof value === "number") return value % 1 === 0 && !Number.isSafeInteger(value);
  if (typeof value !== "object" || value === null) return false;
  if (!Array.isArray(value)) return Object.values(value).some(holdsUnsafeInteger);
  for (let index = 0; index < value.length; index++)
    if (holdsUnsafeInteger(value[index])) return true;
  return false;
}

function keepDigits(_key: string, value: unknown, context?: { source?: string }): unknown {
  if (typeof value !== "number" || Number.isSafeInteger(value)) return value;
  const source = context?.source;
  // To make a bigint of a million digits would take a while, and it fits no datatype.
  return source !== undefined && /^-?\d{16,21}$/.test(source) ? BigInt(source) : value;
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
  const rows = rowsOf(name, shape, data);
  if (datatype === "BYTES") return { name, datatype, shape, elements: encodeTexts(name, rows) };
  // The rows have been counted, so this allocates no more than was sent.
  const array = allocateTypedArray(datatype, elementCount(shape));
  let offset = 0;
  for (const row of rows) {
    fillRow({ name, datatype }, array, offset, row);
    offset += row.length;
  }
  return { name, datatype, shape, bytes: bytesOf(array) };
}

/**
 * Reads the data of a tensor from JSON as {@link decodeJsonData} does, to raw contents: little-endian,
 * BYTES with length prefixes.
 */
export function decodeJsonRaw(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  data: unknown,
): Uint8Array {
  const { bytes, elements } = decodeJsonData(name, datatype, shape, data);
  return elements ? joinBytesElements(elements) : bytes;
}

type Rows = readonly (readonly unknown[])[];

/** The innermost arrays of the data, whose lengths add up to the shape's elements. Flat data is one. */
function rowsOf(name: string, shape: readonly number[], data: unknown): Rows {
  if (shape.length > maxRank) throw shapeInvalid(name, `of ${shape.length} dimensions`);
  if (!Array.isArray(data)) {
    if (shape.length === 0) return [[data]];
    throw tensorValueInvalid(name, 0, describe(data), "an array of values");
  }
  // An empty tensor may be nested in many ways, all of them without an element.
  if (!Array.isArray(data[0])) {
    const count = elementCount(shape);
    if (data.length !== count) throw tensorElementsMismatch(name, data.length, count);
    return [data];
  }
  const rows: unknown[][] = [];
  collectRows(name, shape, data, 0, rows);
  return rows;
}

function collectRows(
  name: string,
  shape: readonly number[],
  level: unknown[],
  axis: number,
  rows: unknown[][],
): void {
  if (level.length !== shape[axis]) throw shapeMismatchedNesting(name, axis, level.length, shape);
  if (axis === shape.length - 1) {
    if (Array.isArray(level[0])) throw nestedDeeper(name, shape);
    rows.push(level);
    return;
  }
  for (const part of level) {
    if (!Array.isArray(part)) throw shapeMismatchedNesting(name, axis + 1, 0, shape);
    collectRows(name, shape, part, axis + 1, rows);
  }
}

/** What elements are read for. */
interface Target<D extends Datatype = Datatype> {
  readonly name: string;
  readonly datatype: D;
}

function encodeTexts(name: string, rows: Rows): Uint8Array[] {
  const elements: Uint8Array[] = [];
  for (const row of rows) {
    for (const value of row) {
      // The encoder would put another character in the place of half a surrogate pair.
      if (typeof value !== "string" || !value.isWellFormed()) {
        const target = { name, datatype: "BYTES" } as const;
        throw invalid(target, elements.length, value, "a string of whole characters");
      }
      elements.push(encoder.encode(value));
    }
  }
  return elements;
}

function fillRow(
  target: Target<FixedSizeDatatype>,
  array: TypedArray,
  offset: number,
  row: readonly unknown[],
): void {
  switch (target.datatype) {
    case "BOOL":
      for (let index = 0; index < row.length; index++)
        array[offset + index] = toBit(target, offset + index, row[index]);
      return;
    case "FP16":
      for (let index = 0; index < row.length; index++)
        array[offset + index] = numberToFp16(toFloat(target, offset + index, row[index]));
      return;
    case "BF16":
      for (let index = 0; index < row.length; index++)
        array[offset + index] = numberToBf16(toFloat(target, offset + index, row[index]));
      return;
    case "FP32":
    case "FP64":
      for (let index = 0; index < row.length; index++) {
        const value = row[index];
        array[offset + index] =
          typeof value === "number" ? value : toFloat(target, offset + index, value);
      }
      return;
    case "INT64":
    case "UINT64":
      fillLongs(target, array as BigInt64Array | BigUint64Array, offset, row);
      return;
    case "UINT8":
    case "UINT16":
    case "UINT32":
    case "INT8":
    case "INT16":
    case "INT32":
      fillIntegers(target, integerRanges[target.datatype], array, offset, row);
      return;
  }
}

function fillIntegers(
  target: Target,
  [min, max]: readonly [number, number],
  array: TypedArray,
  offset: number,
  row: readonly unknown[],
): void {
  for (let index = 0; index < row.length; index++) {
    const value = row[index];
    // Bigints are beyond 32 bits, as parseLosslessJson makes them.
    if (typeof value !== "number" || value % 1 !== 0 || value < min || value > max)
      throw invalid(target, offset + index, value, `a whole number from ${min} to ${max}`);
    array[offset + index] = value;
  }
}

function fillLongs(
  target: Target,
  array: BigInt64Array | BigUint64Array,
  offset: number,
  row: readonly unknown[],
): void {
  const words = new Int32Array(array.buffer, array.byteOffset, 2 * array.length);
  const [min, max] = integerRanges[target.datatype === "INT64" ? "INT64" : "UINT64"];
  const smallest = target.datatype === "INT64" ? Number.MIN_SAFE_INTEGER : 0;
  for (let index = 0; index < row.length; index++) {
    const at = offset + index;
    const value = row[index];
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= smallest) {
      // Two words, exact modulo 2^32, save a bigint for each element.
      words[2 * at] = value | 0;
      words[2 * at + 1] = Math.floor(value / 2 ** 32);
      continue;
    }
    const whole = typeof value === "bigint" || (typeof value === "number" && value % 1 === 0);
    if (!whole || value < min || value > max)
      throw invalid(target, at, value, `a whole number from ${min} to ${max}`);
    array[at] = BigInt(value);
  }
}

function toBit(target: Target, index: number, value: unknown): number {
  if (value === true || value === 1) return 1;
  if (value === false || value === 0) return 0;
  throw invalid(target, index, value, "true or false");
}

function toFloat(target: Target, index: number, value: unknown): number {
  if (typeof value === "number") return value;
  if (typeof value === "bigint") return Number(value);
  if (typeof value === "string" && Object.hasOwn(nonFinite, value)) return nonFinite[value]!;
  throw invalid(target, index, value, 'a number, "NaN", "Infinity" or "-Infinity"');
}

function invalid(
  { name, datatype }: Target,
  index: number,
  value: unknown,
  expected: string,
): TensorwireError {
  return tensorValueInvalid(name, index, describe(value), `${expected}, for ${datatype}`);
}

/**
 * Writes elements of a tensor as JSON texts, parted by commas. Floats are written with all their
 * digits; integers of 64 bits as numbers, which a reader must not take for doubles.
 *
 * @returns the text of the elements from `from` to before `to`, row-major; it throws TensorwireError
 * `TENSOR_VALUE_INVALID` for a BYTES element that is not UTF-8
 */
export function jsonRanges(tensor: Tensor): (from: number, to: number) => string {
  const { name, datatype, elements } = tensor;
  if (elements) {
    return (from, to) => {
      let text = "";
      for (let index = from; index < to; index++)
        text += `${index === from ? "" : ","}${stringText(name, index, elements[index]!)}`;
      return text;
    };
  }
  const array = viewTypedArray(name, tensor.datatype, tensor.bytes, tensor.shape);
  switch (datatype) {
    case "BOOL":
      return (from, to) =>
        Array.from((array as Uint8Array).subarray(from, to), (bit) => bit !== 0).join(",");
    case "FP16":
      return (from, to) => floatsText(widen(array.subarray(from, to), fp16ToNumber));
    case "BF16":
      return (from, to) => floatsText(widen(array.subarray(from, to), bf16ToNumber));
    case "FP32":
    case "FP64":
      return (from, to) => floatsText((array as Float32Array | Float64Array).subarray(from, to));
    default:
      return (from, to) => array.subarray(from, to).join(",");
  }
}

/**
 * Writes a tensor as JSON, flat: texts whose concatenation is the elements parted by commas. They are
 * bounded because a string is: 2^29 characters do not hold a large tensor.
 *
 * @throws TensorwireError as {@link jsonRanges}
 */
export function* jsonChunks(tensor: Tensor): Generator<string, void> {
  const range = jsonRanges(tensor);
  const count = elementCount(tensor.shape);
  for (let from = 0; from < count; from += chunkElements)
    yield `${from === 0 ? "" : ","}${range(from, Math.min(from + chunkElements, count))}`;
}

/**
 * Writes the elements of a tensor as JSON, one text each, row-major.
 *
 * @throws TensorwireError as {@link jsonRanges}
 */
export function jsonElements(tensor: Tensor): string[] {
  const range = jsonRanges(tensor);
  return Array.from({ length: elementCount(tensor.shape) }, (_, index) => range(index, index + 1));
}

function stringText(name: string, index: number, element: Uint8Array): string {
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
}

function widen(patterns: TypedArray, toNumber: (pattern: number) => number): Float32Array {
  return Float32Array.from(patterns as Uint16Array, toNumber);
}

function floatsText(values: Float32Array | Float64Array): string {
  for (let index = 0; index < values.length; index++) {
    const value = values[index]!;
    if (!Number.isFinite(value) || Object.is(value, -0))
      return Array.from(values, floatText).join(",");
  }
  return JSON.stringify(Array.from(values)).slice(1, -1);
}

function floatText(value: number): string {
  // JSON.stringify writes 0. Python reads "-0" as an integer, which has no sign.
  if (Object.is(value, -0)) return "-0.0";
  return Number.isFinite(value) ? String(value) : `"${value}"`;
}

function describe(value: unknown): string {
  if (value === undefined) return "nothing";
  if (typeof value === "object" && value !== null)
    return Array.isArray(value) ? "an array" : "an object";
  const text = typeof value === "string" ? JSON.stringify(value) : String(value);
  return text.length > 40 ? `${text.slice(0, 40)}…` : text;
}
