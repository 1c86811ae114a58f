/**
 * Number of elements of a tensor: the product of its dimensions, row-major; 1 for a scalar (`[]`).
 * `NaN` if a dimension is negative, not an integer, or the product is above 2^53 - 1.
 */
export function elementCount(shape: readonly number[]): number {
  let count = 1;
  for (const dimension of shape) {
    if (!Number.isSafeInteger(dimension) || dimension < 0) return Number.NaN;
    count *= dimension;
  }
  return Number.isSafeInteger(count) ? count : Number.NaN;
}

/** Whether `given` fits `expected`, where -1 in `expected` stands for any size, also 0. */
export function shapeMatches(given: readonly number[], expected: readonly number[]): boolean {
  if (given.length !== expected.length) return false;
  return expected.every((dimension, axis) => dimension === -1 || dimension === given[axis]);
}

/** A shape as it stands in messages: `[-1,16]`. */
export function shapeText(shape: readonly number[]): string {
  return `[${shape.join(",")}]`;
}
