/** Thrown by a model for a call whose inputs it does not take: INVALID_ARGUMENT with its message. */
export class InputError extends Error {
  override readonly name = "InputError";
}

/** Whether a value is an {@link InputError}, of whichever copy of this module. */
export function isInputError(value: unknown): value is InputError {
  return value instanceof Error && value.name === "InputError";
}
