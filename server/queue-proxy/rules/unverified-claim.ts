/** Longest token that is looked into, in characters. */
const maxTokenLength = 16_384;

/**
 * A claim of a bearer token, unverified: whoever can make a token can make it say anything. It may say who
 * waits behind whom, where a gateway has checked the token before; it says nothing about what is allowed.
 *
 * @param authorization - the header
 */
export function unverifiedClaim(
  authorization: string | undefined,
  claim: string,
): string | undefined {
  if (authorization === undefined || authorization.length > maxTokenLength) return undefined;
  const match = /^bearer\s+[^.\s]+\.([A-Za-z0-9_-]+)\.[^.\s]*$/i.exec(authorization);
  if (!match) return undefined;
  try {
    const payload = JSON.parse(Buffer.from(match[1]!, "base64url").toString("utf8")) as unknown;
    if (typeof payload !== "object" || payload === null) return undefined;
    const value = (payload as Record<string, unknown>)[claim];
    return typeof value === "string" || typeof value === "number" ? String(value) : undefined;
  } catch {
    // It is no token; the call has no claim then.
    return undefined;
  }
}
