/** Largest code; -128 is not used, so that the codes are symmetric. */
export const maxCode = 127;

/** What is added to codes to make them unsigned. */
export const unsignedZero = 128;

/** Scales below the smallest normal float would have too few digits to divide by. */
const minScale = 2 ** -126;

/** Weights of which each stands for `code * scale` of its channel. */
export interface QuantizedWeights {
  /** In the layout of the weights. */
  readonly codes: Int8Array;
  /** One a channel. */
  readonly scales: Float32Array;
}

/** The axis of the weights that tells the channels apart. */
export type ChannelAxis = "first" | "last";

/**
 * Quantizes weights to 8 bits, symmetric, with one scale an output channel. A weight differs from what
 * its code stands for by at most half a step, which is the scale.
 *
 * @param weights - finite, row-major
 * @param channels - size of the channel axis; a divisor of the number of weights
 */
export function quantizeWeights(
  weights: Float32Array,
  channels: number,
  axis: ChannelAxis,
): QuantizedWeights {
  const perChannel = channels === 0 ? 0 : weights.length / channels;
  const channelStride = axis === "first" ? perChannel : 1;
  const step = axis === "first" ? 1 : channels;
  const codes = new Int8Array(weights.length);
  const scales = new Float32Array(channels);
  for (let channel = 0; channel < channels; channel++) {
    const start = channel * channelStride;
    let largest = 0;
    for (let count = 0, at = start; count < perChannel; count++, at += step)
      largest = Math.max(largest, Math.abs(weights[at]!));
    // A channel of zeros may have any scale but 0.
    const scale = largest === 0 ? 1 : Math.max(Math.fround(largest / maxCode), minScale);
    scales[channel] = scale;
    for (let count = 0, at = start; count < perChannel; count++, at += step) {
      const code = Math.round(weights[at]! / scale);
      codes[at] = Math.max(-maxCode, Math.min(maxCode, code));
    }
  }
  return { codes, scales };
}

/** Codes as unsigned numbers, of which {@link unsignedZero} stands for 0. */
export function toUnsigned(codes: Int8Array): Uint8Array {
  return Uint8Array.from(codes, (code) => code + unsignedZero);
}

/** Transposes a row-major matrix; copies. */
export function transposed(matrix: Int8Array, rows: number, columns: number): Int8Array {
  const result = new Int8Array(matrix.length);
  for (let row = 0; row < rows; row++)
    for (let column = 0; column < columns; column++)
      result[column * rows + row] = matrix[row * columns + column]!;
  return result;
}

/** Whether every weight is a number that can be quantized. */
export function allFinite(weights: Float32Array): boolean {
  for (let index = 0; index < weights.length; index++)
    if (!Number.isFinite(weights[index])) return false;
  return true;
}
