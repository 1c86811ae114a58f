/** A value, or arrays of values as deep as the tensor has dimensions; a scalar is the value. */
export type Nested<T> = T | Nested<T>[];

/** Folds row-major elements into arrays, one level a dimension. */
export function nest<T>(elements: readonly T[], shape: readonly number[]): Nested<T> {
  let offset = 0;
  function level(axis: number): Nested<T> {
    if (axis === shape.length) return elements[offset++]!;
    return Array.from({ length: shape[axis]! }, () => level(axis + 1));
  }
  return level(0);
}
