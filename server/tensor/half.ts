const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);

/** The 32-bit float that an IEEE 754 binary16 pattern stands for; exact. */
export function fp16ToNumber(pattern: number): number {
  const sign = pattern & 0x8000 ? -1 : 1;
  const exponent = (pattern >> 10) & 0x1f;
  const fraction = pattern & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** Rounds to the nearest IEEE 754 binary16, ties to even, and gives its pattern. */
export function numberToFp16(value: number): number {
  // Scaling by powers of two is exact in binary64, so one rounding happens, in roundTiesToEven.
  if (Number.isNaN(value)) return 0x7e00;
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(value);
  if (magnitude >= 65520) return sign | 0x7c00;
  if (magnitude < 2 ** -14) return sign | roundTiesToEven(magnitude * 2 ** 24);
  const exponent = Math.floor(Math.log2(magnitude));
  // log2 may be off by one ulp beside a power of two; the scaled fraction tells.
  const base =
    2 ** exponent > magnitude
      ? exponent - 1
      : 2 ** (exponent + 1) <= magnitude
        ? exponent + 1
        : exponent;
  // A fraction that rounds up to 1024 carries into the exponent by the addition.
  return sign | (((base + 15) << 10) + roundTiesToEven((magnitude / 2 ** base - 1) * 1024));
}

/** The 32-bit float that a bfloat16 pattern stands for; exact. */
export function bf16ToNumber(pattern: number): number {
  bits[0] = pattern << 16;
  return float[0]!;
}

/** Rounds to 32 bits and then to the nearest bfloat16, ties to even, and gives its pattern. */
export function numberToBf16(value: number): number {
  if (Number.isNaN(value)) return 0x7fc0;
  float[0] = value;
  const pattern = bits[0]!;
  return ((pattern + 0x7fff + ((pattern >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Widens bfloat16 contents to 32-bit floats; copies, exact. */
export function widenBf16(bytes: Uint8Array): Float32Array {
  const count = bytes.byteLength >> 1;
  const widened = new Uint32Array(count);
  for (let index = 0; index < count; index++) {
    widened[index] = (bytes[2 * index]! << 16) | (bytes[2 * index + 1]! << 24);
  }
  return new Float32Array(widened.buffer);
}

/** Narrows 32-bit floats to bfloat16 contents, ties to even; copies. */
export function narrowToBf16(values: Float32Array): Uint8Array {
  const narrowed = new Uint16Array(values.length);
  for (let index = 0; index < values.length; index++)
    narrowed[index] = numberToBf16(values[index]!);
  return new Uint8Array(narrowed.buffer);
}

function roundTiesToEven(value: number): number {
  const floor = Math.floor(value);
  const rest = value - floor;
  if (rest !== 0.5) return rest < 0.5 ? floor : floor + 1;
  return floor % 2 === 0 ? floor : floor + 1;
}
