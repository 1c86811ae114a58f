import type { Peer } from "../wire/peer.ts";

/** What a service knows of a call, the same over gRPC, gRPC-Web, Connect and REST. */
export interface CallContext {
  /** Aborts when the deadline passes, the caller cancels or vanishes, or the server stops. */
  readonly signal: AbortSignal;
  readonly peer: Peer;
  /** Headers of the request; lower-case names. */
  readonly requestHeader: Headers;
}
