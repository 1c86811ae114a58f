import { extname } from "node:path";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { Datatype } from "../tensor/datatype.ts";
import { parseLosslessJson } from "../tensor/json-data.ts";
import { shapeText } from "../tensor/shape.ts";
import { type NpyArray, readNpy } from "./npy.ts";

/** An input as the model declares it. */
export interface DeclaredInput {
  readonly name: string;
  readonly datatype: Datatype;
  /** -1 is any size. */
  readonly shape: readonly number[];
}

/** Values of an input: a NumPy array, or JSON values with the shape that they are meant to have. */
export type InputValue =
  | { readonly kind: "npy"; readonly array: NpyArray }
  | { readonly kind: "json"; readonly data: unknown; readonly shape: readonly number[] };

/** Reads a file of values. */
export type ReadBytes = (path: string) => Uint8Array;

/** Parts `NAME=VALUE`; `undefined` if it is none. */
export function splitInput(text: string): { name: string; value: string } | undefined {
  const equals = text.indexOf("=");
  return equals > 0 ? { name: text.slice(0, equals), value: text.slice(equals + 1) } : undefined;
}

/**
 * Reads the value of `--input NAME=VALUE`: `@file.json`, `@file.npy`, `1,2,3`, or JSON.
 *
 * @throws TensorwireError `SETTING_INVALID` that names the input
 */
export function readInputValue(
  declared: DeclaredInput,
  value: string,
  readBytes: ReadBytes,
): InputValue {
  try {
    if (!value.startsWith("@")) return jsonValue(declared, inlineData(declared, value));
    const path = value.slice(1);
    switch (extname(path).toLowerCase()) {
      case ".npy": {
        const array = readNpy(readBytes(path));
        return { kind: "npy", array: { ...array, shape: withBatch(declared, array.shape) } };
      }
      case ".json":
        return jsonValue(
          declared,
          parseLosslessJson(new TextDecoder("utf-8", { fatal: true }).decode(readBytes(path))),
        );
      default:
        throw new Error(`${path} is no file of a kind that is read; .json and .npy are`);
    }
  } catch (error) {
    const { name } = declared;
    throw new TensorwireError("SETTING_INVALID", `input "${name}": ${messageOf(error)}`, {
      input: name,
    });
  }
}

/** Values on the command line: JSON if they look like it, else parted by commas. */
function inlineData({ datatype }: DeclaredInput, text: string): unknown {
  if (text.startsWith("[")) return parseLosslessJson(text);
  const parts = text.split(",");
  if (datatype === "BYTES") return parts;
  return parts.map((part) => {
    const word = part.trim();
    if (/^(NaN|-?Infinity)$/.test(word)) return word;
    try {
      return parseLosslessJson(word);
    } catch {
      throw new Error(`${JSON.stringify(word)} is no value of ${datatype}`);
    }
  });
}

function jsonValue(declared: DeclaredInput, data: unknown): InputValue {
  const nested = nestedShape(data);
  if (nested.length === 1) return { kind: "json", data, shape: flatShape(declared, nested[0]!) };
  const shape = withBatch(declared, nested);
  return { kind: "json", data: shape.length > nested.length ? [data] : data, shape };
}

/** Shape of nested arrays, as the first of each level tell it. */
function nestedShape(data: unknown): number[] {
  const shape: number[] = [];
  for (let level = data; Array.isArray(level); level = level[0]) shape.push(level.length);
  return shape;
}

/** Shape of values without nesting: the declared one, where the count settles its free dimension. */
function flatShape(declared: DeclaredInput, count: number): readonly number[] {
  const { shape } = declared;
  if (shape.length === 1) return [count];
  const fixed = shape.reduce((product, size) => (size === -1 ? product : product * size), 1);
  const free = shape.filter((size) => size === -1).length;
  // One row, where that is all that the values can be.
  const settled = free > 1 && shape[0] === -1 ? [1, ...shape.slice(1)] : [...shape];
  const open = settled.filter((size) => size === -1).length;
  if (open > 1) {
    throw new Error(
      `${count} values can have many shapes that fit ${shapeText(shape)}; nest them, as in [[1,2],[3,4]]`,
    );
  }
  const size = open === 0 || fixed === 0 ? 0 : count / fixed;
  if (open === 0 ? count !== fixed : !Number.isInteger(size)) {
    throw new Error(
      `got ${count} values, expected ${open === 0 ? "" : "a multiple of "}${fixed} for shape ${shapeText(shape)}`,
    );
  }
  return settled.map((dimension) => (dimension === -1 ? size : dimension));
}

/** Adds the batch dimension that a single row lacks. */
function withBatch({ shape }: DeclaredInput, given: readonly number[]): readonly number[] {
  const lacksBatch = given.length === shape.length - 1 && (shape[0] === -1 || shape[0] === 1);
  return lacksBatch ? [1, ...given] : given;
}
