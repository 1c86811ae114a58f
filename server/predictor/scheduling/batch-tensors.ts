import type { FixedSizeTensor, Tensor } from "../../tensor/tensor.ts";

/** Rows of a call: the first dimension of its first input. */
export function rowsOf(inputs: readonly Tensor[]): number {
  return inputs[0]?.shape[0] ?? 0;
}

/** Whether all inputs of a call have the same number of rows, and at least one. */
export function hasPlainRows(inputs: readonly Tensor[]): boolean {
  const rows = rowsOf(inputs);
  return rows > 0 && inputs.every(({ shape }) => shape[0] === rows);
}

/**
 * Whether two calls can be one batch: the same inputs in the same order, alike in datatype and in all
 * dimensions but the first.
 */
export function canJoin(one: readonly Tensor[], other: readonly Tensor[]): boolean {
  if (one.length !== other.length) return false;
  for (let index = 0; index < one.length; index++) {
    const a = one[index]!;
    const b = other[index]!;
    if (a.name !== b.name || a.datatype !== b.datatype) return false;
    const { length } = a.shape;
    if (length !== b.shape.length) return false;
    for (let axis = 1; axis < length; axis++) if (a.shape[axis] !== b.shape[axis]) return false;
  }
  return true;
}

/** Puts the rows of calls, which {@link canJoin}, one behind the other. Contents are copied. */
export function joinRows(calls: readonly (readonly Tensor[])[]): Tensor[] {
  const [first] = calls;
  if (!first) throw new Error("a batch has at least one call");
  return first.map((tensor, index) => {
    const parts = calls.map((inputs) => inputs[index]!);
    let rows = 0;
    for (const part of parts) rows += part.shape[0]!;
    const { name, datatype } = tensor;
    const shape = [rows, ...tensor.shape.slice(1)];
    if (datatype === "BYTES") {
      return { name, datatype, shape, elements: parts.flatMap((part) => part.elements ?? []) };
    }
    return { name, datatype, shape, bytes: joinBytes(parts as readonly FixedSizeTensor[]) };
  });
}

function joinBytes(parts: readonly FixedSizeTensor[]): Uint8Array {
  let length = 0;
  for (const { bytes } of parts) length += bytes.byteLength;
  // Of its own memory, so that elements of any width are aligned.
  const joined = new Uint8Array(length);
  let at = 0;
  for (const { bytes } of parts) {
    joined.set(bytes, at);
    at += bytes.byteLength;
  }
  return joined;
}

/** True if the outputs have so many rows each, and so can be split by {@link takeRows}. */
export function haveRows(outputs: readonly Tensor[], rows: number): boolean {
  return outputs.every(({ shape }) => shape[0] === rows);
}

/**
 * Some rows of outputs. Contents are views: all calls of a batch share its memory.
 *
 * @param total - rows that the outputs have
 */
export function takeRows(
  outputs: readonly Tensor[],
  start: number,
  count: number,
  total: number,
): Tensor[] {
  return outputs.map((tensor) => {
    const shape = [count, ...tensor.shape.slice(1)];
    const { name } = tensor;
    if (tensor.datatype === "BYTES") {
      const each = tensor.elements.length / total;
      const elements = tensor.elements.slice(start * each, (start + count) * each);
      return { name, datatype: tensor.datatype, shape, elements };
    }
    const each = tensor.bytes.byteLength / total;
    const bytes = tensor.bytes.subarray(start * each, (start + count) * each);
    return { name, datatype: tensor.datatype, shape, bytes };
  });
}
