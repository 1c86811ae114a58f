import { TensorwireError } from "./tensorwire-error.ts";

/** A call that came after the server was told to stop. */
export function serverDraining(): TensorwireError {
  return new TensorwireError(
    "SERVER_DRAINING",
    "the server is stopping and takes no new calls; call another one",
    { retryAfterMs: "0" },
  );
}

/** A request message for which the server has no room beside those of all connections. */
export function serverMemoryFull(bytes: number, limit: number): TensorwireError {
  return new TensorwireError(
    "SERVER_MEMORY_FULL",
    `${bytes} bytes more of a request have no room beside those that the server has under way, ${limit} bytes in all; call again later, or another server`,
    { givenBytes: `${bytes}`, limitBytes: `${limit}`, retryAfterMs: "1000" },
  );
}

/** A request message for which its connection has no room beside those that are under way. */
export function connectionMemoryFull(bytes: number, limit: number): TensorwireError {
  return new TensorwireError(
    "CONNECTION_MEMORY_FULL",
    `a message of ${bytes} bytes has no room beside those that this connection has under way, ${limit} bytes in all; send fewer at once, or use more connections`,
    { givenBytes: `${bytes}`, limitBytes: `${limit}` },
  );
}
