import type { TensorwireError } from "../errors/tensorwire-error.ts";

/** The header `www-authenticate`: what a caller without good credentials is to bring (RFC 6750, section 3). */
export function challengeOf({ reason }: TensorwireError): string {
  const realm = 'Bearer realm="tensorwire"';
  return reason === "CREDENTIALS_MISSING" ? realm : `${realm}, error="invalid_token"`;
}
