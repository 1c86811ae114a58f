import { TensorwireError } from "./tensorwire-error.ts";

/** A call that came after the server was told to stop. */
export function serverDraining(): TensorwireError {
  return new TensorwireError(
    "SERVER_DRAINING",
    "the server is stopping and takes no new calls; call another one",
    { retryAfterMs: "0" },
  );
}
