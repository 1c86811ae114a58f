import { callAborted } from "../errors/model-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallAbort } from "../rpc/call-context.ts";

/** The error for a call that nobody waits for. */
export function abortError(call: CallAbort, where: string): TensorwireError {
  return callAborted(call.aborted ?? "cancelled", where);
}
