import type { TokenVerifier } from "../access/access-control.ts";
import { FileIssuerKeys, type IssuerKeys, RemoteIssuerKeys } from "../access/issuer-keys.ts";
import { createJwtVerifier } from "../access/jwt-verifier.ts";
import type { Log } from "../observability/log.ts";
import type { ServeValues } from "./serve-values.ts";

/** What checks the tokens of an issuer, and the file of its keys if it is one. */
export interface TokenIssuer {
  readonly tokens: TokenVerifier;
  readonly file?: { readonly keys: FileIssuerKeys; readonly path: string };
}

/**
 * Makes what checks tokens; the settings name an issuer, which `checkServeValues` has seen to be whole.
 *
 * @param onChange - called when the issuer's keys are others than before
 */
export function tokenIssuer(values: ServeValues, log: Log, onChange: () => void): TokenIssuer {
  const { "jwt-issuer": issuer = "", "jwt-audience": audiences, "jwt-jwks": jwks = "" } = values;
  const claims = {
    permissions: values["jwt-permissions-claim"],
    models: values["jwt-models-claim"],
  };
  const verifier = (keys: IssuerKeys): TokenVerifier =>
    createJwtVerifier({ issuer, audiences, keys, claims, now: Date.now });
  if (!isUrl(jwks)) {
    const keys = new FileIssuerKeys();
    return { tokens: verifier(keys), file: { keys, path: jwks } };
  }
  const url = new URL(jwks);
  const keys = new RemoteIssuerKeys({ url, onChange, log, now: () => performance.now() });
  return { tokens: verifier(keys) };
}

function isUrl(text: string): boolean {
  return /^https?:\/\//i.test(text);
}
