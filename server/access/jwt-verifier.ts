import { errors, type JWTPayload, jwtVerify } from "jose";
import { credentialsInvalid, credentialsUnverifiable } from "../errors/access-errors.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { TokenVerifier, VerifiedToken } from "./access-control.ts";
import type { IssuerKeys } from "./issuer-keys.ts";
import { principalOfClaims, type TokenClaims } from "./token-claims.ts";

/** Signatures by key pairs: who checks a token cannot make one (RFC 8725, section 3.1). */
const algorithms = [
  ...["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"],
  ...["ES256", "ES384", "ES512", "EdDSA", "Ed25519"],
];
/** By how much the issuer's clock may be off, in s. */
const clockToleranceSeconds = 30;
/** Longest time for which a token is not checked again, in ms: so long a revoked key of the issuer lives on. */
const maxRememberedMs = 300_000;

/** What a {@link createJwtVerifier} expects of tokens. */
export interface JwtVerifierOptions {
  readonly issuer: string;
  /** Audiences of which a token must name one. */
  readonly audiences: readonly string[];
  readonly keys: IssuerKeys;
  readonly claims: TokenClaims;
  /** Wall clock in ms since 1970. */
  readonly now: () => number;
}

/** Checks JWTs (RFC 7519): signature, issuer, audience and time. */
export function createJwtVerifier(options: JwtVerifierOptions): TokenVerifier {
  const { issuer, audiences, keys, claims, now } = options;
  return {
    async verify(token): Promise<VerifiedToken> {
      const time = now();
      let payload: JWTPayload;
      try {
        ({ payload } = await jwtVerify(token, keys.get, {
          issuer,
          audience: [...audiences],
          algorithms,
          clockTolerance: clockToleranceSeconds,
          requiredClaims: ["exp"],
          currentDate: new Date(time),
        }));
      } catch (error) {
        throw refusalOf(error, options);
      }
      const principal = principalOfClaims(payload, claims);
      const expires = (payload.exp ?? 0) * 1000;
      return { principal, validUntil: Math.min(expires, time + maxRememberedMs) };
    },
  };
}

/** Says why a token is refused, with what is expected and with nothing of the token. */
function refusalOf(
  error: unknown,
  { issuer, audiences }: Pick<JwtVerifierOptions, "issuer" | "audiences">,
): TensorwireError {
  if (error instanceof TensorwireError) return error;
  if (error instanceof errors.JWTExpired) {
    return credentialsInvalid("expired_token", "the token has expired; get another one");
  }
  if (error instanceof errors.JWTClaimValidationFailed) {
    return invalid(claimProblem(error, issuer, audiences));
  }
  if (error instanceof errors.JOSEAlgNotAllowed) {
    return invalid(`the token's algorithm is not allowed; allowed are ${algorithms.join(", ")}`);
  }
  if (error instanceof errors.JWSSignatureVerificationFailed) {
    return invalid("the token's signature is wrong");
  }
  if (error instanceof errors.JWKSNoMatchingKey) {
    return invalid("the token is signed with a key that is not among those of its issuer");
  }
  if (error instanceof errors.JWKSMultipleMatchingKeys) {
    return invalid("the token does not say by kid which of its issuer's keys it is signed with");
  }
  if (error instanceof errors.JWKSInvalid) return credentialsUnverifiable(error);
  if (error instanceof errors.JOSEError) return invalid("the token is no well-formed JWT");
  // What is left is a key of the issuer that cannot be used.
  return credentialsUnverifiable(error);
}

function claimProblem(
  { claim, reason }: errors.JWTClaimValidationFailed,
  issuer: string,
  audiences: readonly string[],
): string {
  if (reason === "missing") return `the token has no claim ${claim}`;
  switch (claim) {
    case "iss":
      return `the token is of another issuer, expected "${issuer}"`;
    case "aud":
      return `the token is for another audience, expected ${audiences.map((name) => `"${name}"`).join(" or ")}`;
    case "nbf":
      return "the token is not valid yet";
    default:
      return `the token's claim ${claim} is not what it should be`;
  }
}

function invalid(why: string): TensorwireError {
  return credentialsInvalid("invalid_token", why);
}
