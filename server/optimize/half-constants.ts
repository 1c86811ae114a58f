import { numberToFp16 } from "../tensor/half.ts";

/** Largest finite 16-bit float. */
export const maxHalf = 65504;

/** Smallest 16-bit float that has all its digits; below it, each halving loses one. */
export const minNormalHalf = 2 ** -14;

/** Whether 16-bit floats can stand for values. */
export type HalfFit = "fits" | "too large" | "too small";

/**
 * Tells whether 16-bit floats can stand for values: none may lie beyond their range, and the largest must
 * keep its digits, as a lone 1e-12 that guards a division would become 0. Infinity and NaN exist in both.
 */
export function halfFit(values: Float32Array): HalfFit {
  return fitOfMagnitude(largestFinite(values));
}

/** Tells whether 16-bit floats can stand for values of which the largest has this magnitude. */
export function fitOfMagnitude(magnitude: number): HalfFit {
  if (magnitude > maxHalf) return "too large";
  return magnitude !== 0 && magnitude < minNormalHalf ? "too small" : "fits";
}

/** Largest magnitude of the finite values; 0 without any. */
export function largestFinite(values: Float32Array): number {
  let largest = 0;
  for (let index = 0; index < values.length; index++) {
    const magnitude = Math.abs(values[index]!);
    if (magnitude > largest && magnitude !== Number.POSITIVE_INFINITY) largest = magnitude;
  }
  return largest;
}

/** Patterns of the nearest 16-bit floats, ties to even. */
export function toHalf(values: Float32Array): Uint16Array {
  const patterns = new Uint16Array(values.length);
  for (let index = 0; index < values.length; index++)
    patterns[index] = numberToFp16(values[index]!);
  return patterns;
}
