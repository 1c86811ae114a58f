import { Code, ConnectError } from "@connectrpc/connect";
import type { Principal } from "../access/principal.ts";
import type { Peer } from "../wire/peer.ts";

/** Why nobody waits for the answer of a call any more. */
export type AbortCause = "deadline" | "cancelled";

/** Whether a call still has somebody who waits for it: an AbortSignal that costs nothing to make. */
export interface CallAbort {
  /** `undefined` while somebody waits. */
  readonly aborted: AbortCause | undefined;
  /**
   * Calls back once, when {@link aborted} is set; at once if it is. There is one listener at a time:
   * another one takes its place, `undefined` removes it.
   */
  onAbort(listener: (() => void) | undefined): void;
}

/** What a service knows of a call, the same over gRPC, gRPC-Web, Connect and REST. */
export interface CallContext extends CallAbort {
  /** Aborts when the deadline passes, the caller cancels or vanishes, or the server stops. */
  readonly signal: AbortSignal;
  readonly peer: Peer;
  /** Who calls; `undefined` where nobody is asked for credentials. */
  readonly principal: Principal | undefined;
  /** Headers of the request; lower-case names. */
  readonly requestHeader: Headers;
}

/** The context of a call that came with an AbortSignal. */
export class SignalCallContext implements CallContext {
  readonly signal: AbortSignal;
  readonly peer: Peer;
  readonly requestHeader: Headers;
  readonly principal: Principal | undefined;
  #listener: (() => void) | undefined;

  constructor(signal: AbortSignal, peer: Peer, requestHeader: Headers, principal?: Principal) {
    this.signal = signal;
    this.peer = peer;
    this.requestHeader = requestHeader;
    this.principal = principal;
  }

  get aborted(): AbortCause | undefined {
    return this.signal.aborted ? abortCause(this.signal) : undefined;
  }

  onAbort(listener: (() => void) | undefined): void {
    if (this.#listener) this.signal.removeEventListener("abort", this.#listener);
    this.#listener = listener;
    if (!listener) return;
    if (this.signal.aborted) listener();
    else this.signal.addEventListener("abort", listener, { once: true });
  }
}

/** What an aborted signal says: Connect's reason tells a deadline from a cancel. */
export function abortCause({ reason }: AbortSignal): AbortCause {
  const deadline =
    (reason instanceof ConnectError && reason.code === Code.DeadlineExceeded) ||
    (reason instanceof DOMException && reason.name === "TimeoutError");
  return deadline ? "deadline" : "cancelled";
}
