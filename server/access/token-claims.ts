import type { JWTPayload } from "jose";
import { credentialsInvalid } from "../errors/access-errors.ts";
import { allModels, ModelPatterns } from "./model-patterns.ts";
import { isPermission, type Permission } from "./permissions.ts";
import type { Principal } from "./principal.ts";

/** Before a permission in a claim, which may hold those of other servers too. */
const permissionPrefix = "tensorwire:";
const maxNameLength = 256;

/** Names of the claims that say what the bearer of a token may do. */
export interface TokenClaims {
  /** Permissions such as `tensorwire:infer`: a text parted by blanks (RFC 8693, section 4.2), or a list. */
  readonly permissions: string;
  /** Patterns of models, likewise; without the claim every model is allowed. */
  readonly models: string;
}

/**
 * Says who the bearer of a token is and what it may do.
 *
 * @throws TensorwireError `CREDENTIALS_INVALID` if a claim is neither text nor list of texts
 */
export function principalOfClaims(payload: JWTPayload, claims: TokenClaims): Principal {
  const granted = new Set<Permission>();
  for (const text of textsOf(payload, claims.permissions) ?? []) {
    const permission = text.startsWith(permissionPrefix) && text.slice(permissionPrefix.length);
    if (permission && isPermission(permission)) granted.add(permission);
  }
  const patterns = textsOf(payload, claims.models);
  return {
    name: nameOf(payload),
    credential: "token",
    permissions: granted,
    models: patterns === undefined ? allModels : new ModelPatterns(patterns),
  };
}

function nameOf(payload: JWTPayload): string {
  const named = [payload.sub, payload.client_id, payload.azp].find(
    (value) => typeof value === "string" && value !== "",
  ) as string | undefined;
  // It goes into log and messages.
  return (named ?? "unnamed").slice(0, maxNameLength).replaceAll(/\p{Cc}/gu, "?");
}

function textsOf(payload: JWTPayload, claim: string): readonly string[] | undefined {
  const value = claimOf(payload, claim);
  if (value === undefined) return undefined;
  if (typeof value === "string") return value.split(" ").filter((text) => text !== "");
  if (Array.isArray(value) && value.every((text) => typeof text === "string")) return value;
  throw credentialsInvalid(
    "invalid_token",
    `the token's claim ${claim} is neither a text nor a list of texts`,
  );
}

/** A claim by its name; or, if there is none, by a path of names with dots between: `realm_access.roles`. */
function claimOf(payload: JWTPayload, claim: string): unknown {
  if (Object.hasOwn(payload, claim)) return payload[claim];
  let at: unknown = payload;
  for (const name of claim.split(".")) {
    if (typeof at !== "object" || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Record<string, unknown>)[name];
  }
  return at;
}
