import { TensorwireError } from "./tensorwire-error.ts";

/**
 * Converts whatever was thrown to a {@link TensorwireError}, once, at the edge of the program.
 * An error that is none of ours becomes INTERNAL; its text does not reach the caller (it may hold
 * paths or secrets) but stays in `cause` for the log.
 */
export function fromUnknown(thrown: unknown): TensorwireError {
  if (thrown instanceof TensorwireError) return thrown;
  return new TensorwireError(
    "INTERNAL",
    "the server failed on this call; its log has the cause",
    {},
    { cause: thrown },
  );
}

/** Text of whatever was thrown, for logs and for messages about local files. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown);
}
