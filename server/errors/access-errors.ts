import { TensorwireError } from "./tensorwire-error.ts";

/** Why a call was refused, for metrics: few values, and nothing of a caller. */
export const accessRefusals = [
  "no_credentials",
  "unknown_key",
  "invalid_token",
  "expired_token",
  "unknown_certificate",
  "unverifiable_token",
  "missing_permission",
  "forbidden_model",
] as const;

/** One of {@link accessRefusals}; stands as `refusal` in the metadata of every error made here. */
export type AccessRefusal = (typeof accessRefusals)[number];

/** A call without credentials where some are needed. */
export function credentialsMissing(expected: string): TensorwireError {
  return new TensorwireError(
    "CREDENTIALS_MISSING",
    `the call has no credentials, expected ${expected}`,
    { refusal: "no_credentials" satisfies AccessRefusal },
  );
}

/**
 * Credentials that this server does not accept.
 *
 * @param why - without anything of the credentials
 */
export function credentialsInvalid(refusal: AccessRefusal, why: string): TensorwireError {
  return new TensorwireError("CREDENTIALS_INVALID", why, { refusal });
}

/** A token that cannot be checked now, as the issuer's keys cannot be had. */
export function credentialsUnverifiable(cause: unknown): TensorwireError {
  return new TensorwireError(
    "CREDENTIALS_UNVERIFIABLE",
    "the token cannot be checked now: the keys of its issuer (--jwt-jwks) cannot be had; try again later",
    { refusal: "unverifiable_token" satisfies AccessRefusal, retryAfterMs: "1000" },
    { cause },
  );
}

/** A caller that is known and lacks a permission. */
export function permissionMissing(
  principal: string,
  permission: string,
  granted: readonly string[],
): TensorwireError {
  return new TensorwireError(
    "PERMISSION_MISSING",
    `"${principal}" needs the permission ${permission} for this call and has ${granted.join(", ") || "none"}`,
    { refusal: "missing_permission" satisfies AccessRefusal, principal, permission },
  );
}

/** A caller that is known, and a call that may touch any model. */
export function allModelsNeeded(principal: string, what: string): TensorwireError {
  return new TensorwireError(
    "MODEL_FORBIDDEN",
    `"${principal}" may not use every model, which ${what} needs; name the models one by one`,
    { refusal: "forbidden_model" satisfies AccessRefusal, principal },
  );
}

/** A caller that is known and may not use this model. */
export function modelForbidden(principal: string, model: string): TensorwireError {
  return new TensorwireError(
    "MODEL_FORBIDDEN",
    `"${principal}" may not use model "${model}"; its access names others`,
    { refusal: "forbidden_model" satisfies AccessRefusal, principal, model },
  );
}
