import type { TypedTensor } from "../../clients/typescript/src/node.ts";
import { bf16ToNumber, fp16ToNumber, numberToBf16, numberToFp16 } from "../tensor/half.ts";
import { shapeText } from "../tensor/shape.ts";
import { textTable } from "./text-layout.ts";

/** Rows and columns of which the first and last are shown, and the middle is left out. */
const maxRows = 12;
const maxColumns = 10;
const ellipsis = "...";

/** A tensor for people: name, datatype, shape, and its values, a row for each last dimension. */
export function tensorText(name: string, tensor: TypedTensor): string {
  const { datatype, shape } = tensor;
  const heading = `${name} ${datatype}${shapeText(shape)}`;
  const elements = tensor.toArray();
  if (elements.length === 0) return `${heading}\n  no values`;
  const columns = shape.at(-1) ?? 1;
  const rows = elements.length / columns;
  const body = shown(rows, maxRows).map((row) => {
    if (row === undefined) return [ellipsis];
    const cells = shown(columns, maxColumns).map((column) =>
      column === undefined ? ellipsis : elementText(elements[row * columns + column]!, datatype),
    );
    return shape.length > 2 ? [shapeText(indexOf(row, shape)), ...cells] : cells;
  });
  return `${heading}\n${textTable(aligned(body), "  ")}`;
}

/**
 * The answer to a classification for people: elements of the form `score:index[:label]`, as a table.
 */
export function classesText(name: string, tensor: TypedTensor): string {
  const rows = tensor.toArray().map((element) => {
    const [score = "", index = "", ...label] = String(element).split(":");
    return [score, index, label.join(":")];
  });
  return `${name} ${shapeText(tensor.shape)}\n${textTable([["SCORE", "CLASS", "LABEL"], ...rows], "  ")}`;
}

/** Indices to show; `undefined` stands for those left out. */
function shown(count: number, limit: number): (number | undefined)[] {
  if (count <= limit) return Array.from({ length: count }, (_, index) => index);
  const half = limit / 2;
  const ends = Array.from({ length: half }, (_, index) => index);
  return [...ends, undefined, ...ends.map((index) => count - half + index)];
}

/** Position of a row in all dimensions but the last. */
function indexOf(row: number, shape: readonly number[]): number[] {
  const position: number[] = [];
  let rest = row;
  for (const dimension of shape.slice(0, -1).reverse()) {
    position.unshift(rest % dimension);
    rest = Math.floor(rest / dimension);
  }
  return position;
}

function elementText(
  element: number | bigint | boolean | string,
  datatype: TypedTensor["datatype"],
): string {
  if (typeof element === "string") return JSON.stringify(element);
  if (typeof element !== "number" || !Number.isFinite(element)) return String(element);
  const round = roundings[datatype];
  if (!round) return String(element);
  for (let digits = 1; digits < mostDigits; digits++) {
    const short = Number(element.toPrecision(digits));
    if (round(short) === element) return String(short);
  }
  return String(Number(element.toPrecision(mostDigits)));
}

/** Digits that tell every float of 32 bits from its neighbours. */
const mostDigits = 9;

/** Floats narrower than a number: what a number becomes in them, so that no digit is shown that they do not have. */
const roundings: Partial<Record<TypedTensor["datatype"], (value: number) => number>> = {
  FP32: Math.fround,
  FP16: (value) => fp16ToNumber(numberToFp16(value)),
  BF16: (value) => bf16ToNumber(numberToBf16(value)),
};

/** Right-aligns the cells of each column. */
function aligned(rows: readonly (readonly string[])[]): string[][] {
  const widths: number[] = [];
  for (const row of rows) {
    if (row.length === 1 && row[0] === ellipsis) continue;
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  return rows.map((row) => row.map((cell, column) => cell.padStart(widths[column] ?? 0)));
}
