import type { Tensor as OrtTensor } from "onnxruntime-node";
import { fp16ToNumber } from "../tensor/half.ts";

/** How far an output of one model is from the same output of another, over all runs. */
export interface OutputDifference {
  readonly output: string;
  /** Elements that were compared. */
  readonly elements: number;
  /** Largest absolute difference; `Infinity` if one is no number, or the shapes differ. */
  readonly absolute: number;
  /**
   * The largest absolute difference, divided by the largest magnitude of the original's output. Of
   * outputs that are no floats: the share of elements that are not equal.
   */
  readonly relative: number;
}

/** Compares an output over several runs. */
export class OutputComparison {
  readonly #output: string;
  #elements = 0;
  #unequal = 0;
  #absolute = 0;
  #magnitude = 0;
  #isFloat = true;

  constructor(output: string) {
    this.#output = output;
  }

  /** Compares one run. */
  add(original: OrtTensor, other: OrtTensor): void {
    this.#isFloat = original.type.startsWith("float");
    const length = original.data.length;
    this.#elements += length;
    if (original.type !== other.type || `${original.dims}` !== `${other.dims}`) {
      this.#absolute = Number.POSITIVE_INFINITY;
      this.#unequal += length;
      return;
    }
    if (this.#isFloat) this.#addFloats(original, other);
    else this.#addExact(original, other);
  }

  result(): OutputDifference {
    const relative = this.#isFloat
      ? this.#absolute === 0
        ? 0
        : this.#absolute / this.#magnitude
      : this.#elements === 0
        ? 0
        : this.#unequal / this.#elements;
    return {
      output: this.#output,
      elements: this.#elements,
      absolute: this.#absolute,
      relative: this.#absolute === Number.POSITIVE_INFINITY ? this.#absolute : relative,
    };
  }

  #addFloats(original: OrtTensor, other: OrtTensor): void {
    const number = original.type === "float16" ? fp16ToNumber : Number;
    const left = patterns(original);
    const right = patterns(other);
    for (let index = 0; index < left.length; index++) {
      const expected = number(left[index]!);
      const given = number(right[index]!);
      if (Number.isFinite(expected))
        this.#magnitude = Math.max(this.#magnitude, Math.abs(expected));
      if (Object.is(expected, given)) continue;
      const difference = Math.abs(expected - given);
      this.#absolute = Math.max(
        this.#absolute,
        Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference,
      );
    }
  }

  #addExact(original: OrtTensor, other: OrtTensor): void {
    const left = original.data as ArrayLike<unknown>;
    const right = other.data as ArrayLike<unknown>;
    for (let index = 0; index < left.length; index++) {
      const expected = left[index];
      const given = right[index];
      if (expected === given) continue;
      this.#unequal++;
      const difference =
        typeof expected === "string" ? 1 : Math.abs(Number(expected) - Number(given));
      this.#absolute = Math.max(this.#absolute, difference);
    }
  }
}

/** Values of a float tensor; bit patterns if they are of 16 bits. */
function patterns({ type, data }: OrtTensor): ArrayLike<number> {
  if (type !== "float16" || data instanceof Uint16Array) return data as Float32Array;
  const { buffer, byteOffset, length } = data as Float32Array;
  return new Uint16Array(buffer, byteOffset, length);
}
