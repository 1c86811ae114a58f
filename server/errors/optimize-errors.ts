import { messageOf } from "./from-unknown.ts";
import { TensorwireError } from "./tensorwire-error.ts";

/** The optimized model answers otherwise than the original. */
export function optimizationInexact(
  model: string,
  output: string,
  relative: number,
  tolerance: number,
): TensorwireError {
  const given = Number.isFinite(relative)
    ? relative.toPrecision(3)
    : "not a number or of another shape";
  return new TensorwireError(
    "OPTIMIZATION_INEXACT",
    `model "${model}": the relative difference of output "${output}" is ${given}, expected at most ${tolerance}; nothing was written. Raise --tolerance if that is good enough, give inputs like the real ones with --input, or change less`,
    { model, output, relativeDifference: `${relative}`, tolerance: `${tolerance}` },
  );
}

/** Nothing of the model is such that it could be changed. */
export function optimizationWithoutEffect(model: string, why: string): TensorwireError {
  return new TensorwireError(
    "OPTIMIZATION_WITHOUT_EFFECT",
    `model "${model}": ${why}; nothing was written, as the model would stay as it is`,
    { model },
  );
}

/** The file system refused the optimized model. */
export function optimizationNotWritten(path: string, cause: unknown): TensorwireError {
  return new TensorwireError(
    "OPTIMIZATION_NOT_WRITTEN",
    `${path} cannot be written: ${messageOf(cause)}; name a folder with room and the right to write, with --output`,
    { path },
    { cause },
  );
}
