import { type ContextKey, createContextKey } from "@connectrpc/connect";
import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import { connectionMemoryFull, serverMemoryFull } from "../errors/server-errors.ts";
import type { TensorwireError } from "../errors/tensorwire-error.ts";

/** Bytes of request messages that are held at once, of all connections together. */
export class MemoryBudget {
  readonly limitBytes: number;
  heldBytes = 0;

  constructor(limitBytes: number) {
    this.limitBytes = limitBytes;
  }

  /** Takes room; false if there is none. */
  take(bytes: number): boolean {
    if (this.heldBytes + bytes > this.limitBytes) return false;
    this.heldBytes += bytes;
    return true;
  }

  give(bytes: number): void {
    this.heldBytes -= bytes;
  }
}

/** A budget that is never used up, for connections of clients. */
export function unboundedMemory(): MemoryBudget {
  return new MemoryBudget(Number.POSITIVE_INFINITY);
}

/** What one request holds of its message, until it is answered. */
export interface RequestMemory {
  /** Bytes that are held. */
  readonly heldBytes: number;
  /** Holds so many bytes from now on; gives the error if there is no room for them, and then holds as before. */
  hold(bytes: number): TensorwireError | undefined;
}

const unwatched: RequestMemory = { heldBytes: 0, hold: () => undefined };

/** Key under which the wire puts the {@link RequestMemory} into the `contextValues` of every request. */
export const requestMemoryKey: ContextKey<RequestMemory> = createContextKey<RequestMemory>(
  unwatched,
  { description: "request memory" },
);

/** What a request holds. */
export function memoryOf({
  contextValues,
}: Pick<UniversalServerRequest, "contextValues">): RequestMemory {
  return contextValues?.get(requestMemoryKey) ?? unwatched;
}

/** Why a message has no room, for its caller. */
export function memoryFull(
  refusal: "memory" | "server-memory",
  bytes: number,
  limitBytes: number,
): TensorwireError {
  return refusal === "memory"
    ? connectionMemoryFull(bytes, limitBytes)
    : serverMemoryFull(bytes, limitBytes);
}

/** Takes room for the messages of one connection, and of it in the budget of all. */
export interface MemoryAccount {
  /** Takes room; gives the error if there is none. */
  reserve(bytes: number): TensorwireError | undefined;
  unreserve(bytes: number): void;
}

/** A request's part of an account. */
export class AccountedMemory implements RequestMemory {
  heldBytes = 0;
  readonly #account: MemoryAccount;

  constructor(account: MemoryAccount) {
    this.#account = account;
  }

  hold(bytes: number): TensorwireError | undefined {
    const more = bytes - this.heldBytes;
    if (more > 0) {
      const error = this.#account.reserve(more);
      if (error) return error;
    } else if (more < 0) this.#account.unreserve(-more);
    this.heldBytes = bytes;
    return undefined;
  }
}
