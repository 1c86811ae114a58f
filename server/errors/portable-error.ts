import { fromUnknown, messageOf } from "./from-unknown.ts";
import type { Reason } from "./registry.ts";
import { TensorwireError } from "./tensorwire-error.ts";

/** An error in a form that crosses between threads. */
export interface PortableError {
  readonly reason: Reason;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  readonly cause: string | undefined;
}

/** Takes an error apart for a message to another thread. */
export function toPortable(thrown: unknown): PortableError {
  const { reason, message, metadata, cause } = fromUnknown(thrown);
  return { reason, message, metadata, cause: cause === undefined ? undefined : messageOf(cause) };
}

/** Makes the error again on the other side. */
export function fromPortable(error: PortableError): TensorwireError {
  return new TensorwireError(error.reason, error.message, error.metadata, {
    cause: error.cause === undefined ? undefined : new Error(error.cause),
  });
}
