import { TensorwireError } from "./tensorwire-error.ts";

/** A described load or a trace that cannot be read. */
export function loadInvalid(given: string, expected: string): TensorwireError {
  return new TensorwireError("SETTING_INVALID", `load: got ${given}, expected ${expected}`, {});
}
