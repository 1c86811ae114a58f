import type { Code } from "@connectrpc/connect";
import { type Reason, registry } from "./registry.ts";

/** Domain of google.rpc.ErrorInfo for every reason of the registry. */
export const errorDomain = "tensorwire";

/**
 * A failure with a reason of the registry. The message states what was given, what was expected
 * and what to do; `metadata` holds its variables, the unit in the key.
 */
export class TensorwireError extends Error {
  override readonly name = "TensorwireError";
  readonly reason: Reason;
  readonly metadata: Readonly<Record<string, string>>;

  constructor(
    reason: Reason,
    message: string,
    metadata: Readonly<Record<string, string>> = {},
    options?: { cause?: unknown },
  ) {
    super(message, options);
    this.reason = reason;
    this.metadata = metadata;
  }

  /** gRPC status code of the reason. */
  get code(): Code {
    return registry[this.reason].code;
  }

  /** HTTP status of the reason, for REST answers. */
  get httpStatus(): number {
    return registry[this.reason].http;
  }
}
