/**
 * Why the wire refused something of a peer; each is counted.
 *
 * - `connections`: one more than `maxConnections`, or while draining
 * - `handshake-timeout`: no preface, TLS handshake, or acknowledged SETTINGS in time
 * - `header-timeout`: a header block that was begun and not ended in time
 * - `header-list-size`: more header bytes than `maxHeaderListBytes`, answered with status 431
 * - `header-block-size`: a header block without end (CVE-2024-27316)
 * - `compression`: bytes that are no HPACK
 * - `stream-resets`: streams opened to be reset (CVE-2023-44487), by the peer or by making us do it
 * - `control-frames`: floods of PING, SETTINGS, PRIORITY, WINDOW_UPDATE and unknown frames
 * - `empty-frames`: frames that carry nothing, again and again
 * - `slow-read`: answers that the peer does not take
 * - `slow-write`: a request that does not go on
 * - `flow-control`: more DATA than the window, or a window beyond 2^31-1
 * - `keepalive`: a peer that does not answer PING
 * - `memory`: more of request messages under way than `maxConnectionBytes`
 * - `server-memory`: more of them than all connections together may have
 * - `streams`: one stream more than `maxConcurrentStreams`
 * - `protocol`: any other breach of RFC 9113
 */
export const wireRefusals = [
  "connections",
  "handshake-timeout",
  "header-timeout",
  "header-list-size",
  "header-block-size",
  "compression",
  "stream-resets",
  "control-frames",
  "empty-frames",
  "slow-read",
  "slow-write",
  "flow-control",
  "keepalive",
  "memory",
  "server-memory",
  "streams",
  "protocol",
] as const;

/** One of {@link wireRefusals}. */
export type WireRefusal = (typeof wireRefusals)[number];

/** Counts of refusals since the start. */
export type RefusalCounts = Record<WireRefusal, number>;

/** Counts that are all zero. */
export function noRefusals(): RefusalCounts {
  return Object.fromEntries(wireRefusals.map((reason) => [reason, 0])) as RefusalCounts;
}
