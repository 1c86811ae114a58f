import { type ContextKey, createContextKey } from "@connectrpc/connect";

/** Who is at the other end of a connection. */
export interface Peer {
  /** IP address, or `unix` for a unix socket. */
  readonly address: string;
  /** True for loopback addresses and unix sockets. */
  readonly local: boolean;
}

/** Key under which the wire puts the {@link Peer} into the `contextValues` of every request. */
export const peerKey: ContextKey<Peer> = createContextKey<Peer>(
  { address: "unknown", local: false },
  { description: "peer" },
);
