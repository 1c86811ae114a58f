import { classificationInvalid } from "../errors/request-errors.ts";
import { bf16ToNumber, fp16ToNumber } from "../tensor/half.ts";
import { elementCount } from "../tensor/shape.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { viewTypedArray } from "../tensor/typed-array.ts";

const encoder = new TextEncoder();

/**
 * Names the best classes of scores: for each row of the last dimension the `classes` highest, best
 * first, as BYTES `score:index` or `score:index:label`. Ties go to the lower index, NaN comes last.
 *
 * @param scores - of any datatype but BYTES, of rank 1 or more; shape `[..., n]`
 * @param classes - 1 or more; above n it counts as n
 * @param labels - names by index; classes beyond its end go without
 * @returns shape `[..., min(classes, n)]`
 * @throws TensorwireError `CLASSIFICATION_INVALID`
 */
export function classify(scores: Tensor, classes: number, labels: readonly string[]): Tensor {
  const { name, shape } = scores;
  if (!scores.bytes) throw classificationInvalid(name, "needs numbers, and this output is BYTES");
  const width = shape.at(-1);
  if (width === undefined)
    throw classificationInvalid(name, "needs a dimension of classes, and this output is a scalar");
  const { datatype } = scores;
  const values = viewTypedArray(name, datatype, scores.bytes, shape);
  const toNumber =
    datatype === "FP16" ? fp16ToNumber : datatype === "BF16" ? bf16ToNumber : undefined;
  const fractional = datatype.startsWith("FP") || datatype === "BF16";
  const leading = shape.slice(0, -1);
  const kept = Math.min(classes, width);
  const elements: Uint8Array[] = [];
  for (let row = 0; row < elementCount(leading); row++) {
    const offset = row * width;
    const scoreOf = (index: number): number | bigint => {
      const value = values[offset + index]!;
      return toNumber ? toNumber(Number(value)) : value;
    };
    const order = Array.from({ length: width }, (_, index) => index).sort((a, b) =>
      descending(scoreOf(a), scoreOf(b)),
    );
    for (const index of order.slice(0, kept)) {
      const score = scoreOf(index);
      const text = fractional ? Number(score).toFixed(6) : String(score);
      const label = labels[index];
      elements.push(
        encoder.encode(label === undefined ? `${text}:${index}` : `${text}:${index}:${label}`),
      );
    }
  }
  return { name, datatype: "BYTES", shape: [...leading, kept], elements };
}

function descending(a: number | bigint, b: number | bigint): number {
  const aIsNaN = Number.isNaN(a);
  const bIsNaN = Number.isNaN(b);
  if (aIsNaN || bIsNaN) return Number(aIsNaN) - Number(bIsNaN);
  return a < b ? 1 : a > b ? -1 : 0;
}
