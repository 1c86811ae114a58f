import type { WireRefusal } from "../wire-refusals.ts";

/** A breach of the protocol that ends the connection (RFC 9113, section 5.4.1). */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: number;
  readonly refusal: WireRefusal;

  constructor(code: number, message: string, refusal: WireRefusal = "protocol") {
    super(message);
    this.code = code;
    this.refusal = refusal;
  }
}
