/** A header block that is not HPACK; the connection cannot go on (RFC 9113, section 4.3). */
export class HpackError extends Error {
  override readonly name = "HpackError";
}
