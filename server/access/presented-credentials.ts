/** What a call brings that says who calls. */
export interface PresentedCredentials {
  /** Value of the header `authorization`. */
  readonly authorization: string | undefined;
  /** Value of the header `x-api-key`. */
  readonly apiKey: string | undefined;
  /** Names in the certificate that the connection's peer has proved; empty without one. */
  readonly certificateNames: readonly string[];
}

/** Names of the headers that credentials come in. */
export const credentialHeaders = { authorization: "authorization", apiKey: "x-api-key" } as const;

/**
 * The credentials in an `authorization` header of the scheme Bearer (RFC 6750, section 2.1).
 *
 * @returns `undefined` for another scheme, and for what no such header may hold
 */
export function bearerOf(authorization: string): string | undefined {
  return /^bearer +([\w\-.~+/]+=*)$/i.exec(authorization)?.[1];
}
