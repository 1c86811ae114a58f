import { type ContextKey, createContextKey } from "@connectrpc/connect";

/** Who is at the other end of a connection. */
export interface Peer {
  /** IP address, or `unix` for a unix socket. */
  readonly address: string;
  /** True for loopback addresses and unix sockets. */
  readonly local: boolean;
  /**
   * Names in the certificate that the peer has proved to have, if the server asks for one: URIs as they
   * are, then DNS names, then the subject's common name as `CN=name`.
   */
  readonly certificateNames?: readonly string[] | undefined;
}

/** Key under which the wire puts the {@link Peer} into the `contextValues` of every request. */
export const peerKey: ContextKey<Peer> = createContextKey<Peer>(
  { address: "unknown", local: false },
  { description: "peer" },
);
