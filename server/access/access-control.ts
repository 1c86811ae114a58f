import type { Registry } from "prom-client";
import {
  allModelsNeeded,
  credentialsInvalid,
  credentialsMissing,
  modelForbidden,
  permissionMissing,
} from "../errors/access-errors.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import type { AccessTable } from "./access-file.ts";
import { hashAccessKey } from "./access-key.ts";
import { AccessMetrics } from "./access-metrics.ts";
import { BoundedCache } from "./bounded-cache.ts";
import { certificateName } from "./certificate-name.ts";
import type { Permission } from "./permissions.ts";
import { bearerOf, type PresentedCredentials } from "./presented-credentials.ts";
import type { Principal } from "./principal.ts";

/** Longest text of credentials that is remembered; longer ones are checked each time. */
const maxCachedLength = 8 * 1024;
const cacheLimit = 1024;

/** A token that was found to be good. */
export interface VerifiedToken {
  readonly principal: Principal;
  /** Until when that holds, in ms since 1970. */
  readonly validUntil: number;
}

/** Checks tokens. */
export interface TokenVerifier {
  /**
   * @throws TensorwireError (by rejection) `CREDENTIALS_INVALID`, `CREDENTIALS_UNVERIFIABLE`
   */
  verify(token: string): Promise<VerifiedToken>;
}

/** What an {@link AccessControl} is made of. */
export interface AccessControlOptions {
  /** Tokens are taken if it is there. */
  readonly tokens?: TokenVerifier | undefined;
  readonly registry: Registry;
  /** Wall clock in ms since 1970. */
  readonly now: () => number;
}

/** Knows who may do what. */
export class AccessControl {
  readonly #tokens: TokenVerifier | undefined;
  readonly #now: () => number;
  readonly #metrics: AccessMetrics;
  #table: AccessTable = { keys: new Map(), certificates: new Map() };
  /** By the whole text of the header `authorization`: what was accepted, never what was refused. */
  readonly #byAuthorization = new BoundedCache<VerifiedToken>(cacheLimit);
  /** By the value of `x-api-key`. */
  readonly #byApiKey = new BoundedCache<Principal>(cacheLimit);
  readonly #verifying = new Map<string, Promise<VerifiedToken>>();
  /** Rises when what was accepted may be so no more. */
  #epoch = 0;

  constructor({ tokens, registry, now }: AccessControlOptions) {
    this.#tokens = tokens;
    this.#now = now;
    this.#metrics = new AccessMetrics(
      registry,
      () => this.#byAuthorization.size + this.#byApiKey.size,
    );
  }

  /** Takes another table in place of the one before. */
  setTable(table: AccessTable): void {
    this.#table = table;
    this.forget();
  }

  /** Checks all credentials anew from now on. */
  forget(): void {
    this.#epoch++;
    this.#byAuthorization.clear();
    this.#byApiKey.clear();
  }

  /** For metrics: a file of credentials has changed. */
  reloaded(outcome: "taken" | "failed"): void {
    this.#metrics.reloaded(outcome);
  }

  /**
   * Says who calls, if that is somebody who may make calls of this kind. Only a token that was not seen
   * before takes time.
   *
   * @param permission - that the call needs; `undefined` if that shows later
   * @throws TensorwireError `CREDENTIALS_MISSING`, `CREDENTIALS_INVALID`, `CREDENTIALS_UNVERIFIABLE`,
   * `PERMISSION_MISSING`; also by rejection
   */
  admit(
    permission: Permission | undefined,
    presented: PresentedCredentials,
  ): Principal | Promise<Principal> {
    try {
      const found = this.#authenticate(presented);
      if (!(found instanceof Promise)) return allowed(found, permission);
      return found.then((principal) => allowed(principal, permission)).catch(this.#refuse);
    } catch (thrown) {
      return this.#refuse(thrown);
    }
  }

  /** @throws TensorwireError `PERMISSION_MISSING`; `CREDENTIALS_MISSING` without a principal */
  checkPermission(principal: Principal | undefined, permission: Permission): void {
    try {
      allowed(this.#known(principal), permission);
    } catch (thrown) {
      this.#refuse(thrown);
    }
  }

  /** @throws TensorwireError `MODEL_FORBIDDEN`; `CREDENTIALS_MISSING` without a principal */
  checkModel(principal: Principal | undefined, model: string): void {
    if (principal?.models.allows(model)) return;
    try {
      throw modelForbidden(this.#known(principal).name, model);
    } catch (thrown) {
      this.#refuse(thrown);
    }
  }

  /**
   * @param what - that needs every model to be allowed
   * @throws TensorwireError `MODEL_FORBIDDEN`; `CREDENTIALS_MISSING` without a principal
   */
  checkAllModels(principal: Principal | undefined, what: string): void {
    if (principal?.models.all) return;
    try {
      throw allModelsNeeded(this.#known(principal).name, what);
    } catch (thrown) {
      this.#refuse(thrown);
    }
  }

  #authenticate(presented: PresentedCredentials): Principal | Promise<Principal> {
    const { apiKey, authorization, certificateNames } = presented;
    if (apiKey !== undefined) return this.#byKey(apiKey);
    if (authorization !== undefined) return this.#byHeader(authorization);
    for (const name of certificateNames) {
      const canonical = certificateName(name);
      const principal = canonical && this.#table.certificates.get(canonical);
      if (principal) return principal;
    }
    if (certificateNames.length === 0) throw credentialsMissing(this.#expected());
    throw credentialsInvalid(
      "unknown_certificate",
      "no name in the certificate of this connection is known; the access file has none of them",
    );
  }

  #byKey(apiKey: string): Principal {
    const cached = this.#byApiKey.get(apiKey);
    if (cached) return cached;
    const principal = this.#findKey(apiKey);
    if (!principal) throw unknownKey();
    if (apiKey.length <= maxCachedLength) this.#byApiKey.set(apiKey, principal);
    return principal;
  }

  #byHeader(authorization: string): Principal | Promise<Principal> {
    const cached = this.#byAuthorization.get(authorization);
    if (cached) {
      if (cached.validUntil > this.#now()) return cached.principal;
      this.#byAuthorization.delete(authorization);
    }
    const bearer = bearerOf(authorization);
    if (bearer === undefined) {
      throw credentialsInvalid(
        "unknown_key",
        'the header authorization is not understood, expected "Bearer" and a key or token',
      );
    }
    const principal = this.#findKey(bearer);
    if (principal) {
      this.#remember(authorization, { principal, validUntil: Number.POSITIVE_INFINITY });
      return principal;
    }
    if (!this.#tokens || bearer.split(".").length !== 3) throw unknownKey();
    return this.#verify(this.#tokens, authorization, bearer);
  }

  /**
   * The time that a look-up by hash takes says nothing of a key: who does not have it cannot choose its
   * hash (nor, in the cache, what V8 makes of the text with its secret seed).
   */
  #findKey(key: string): Principal | undefined {
    const { keys } = this.#table;
    return keys.size === 0 ? undefined : keys.get(hashAccessKey(key));
  }

  async #verify(tokens: TokenVerifier, authorization: string, token: string): Promise<Principal> {
    const epoch = this.#epoch;
    // Calls that come together with one token are one check.
    let verifying = this.#verifying.get(token);
    if (!verifying) {
      verifying = tokens.verify(token).finally(() => this.#verifying.delete(token));
      this.#verifying.set(token, verifying);
    }
    const verified = await verifying;
    if (epoch === this.#epoch) this.#remember(authorization, verified);
    return verified.principal;
  }

  #remember(authorization: string, verified: VerifiedToken): void {
    if (authorization.length <= maxCachedLength) this.#byAuthorization.set(authorization, verified);
  }

  #known(principal: Principal | undefined): Principal {
    if (!principal) throw credentialsMissing(this.#expected());
    return principal;
  }

  #expected(): string {
    const { keys, certificates } = this.#table;
    const kinds = [
      ...(keys.size > 0 ? ['a key as "authorization: Bearer KEY" or "x-api-key: KEY"'] : []),
      ...(this.#tokens ? ['a token as "authorization: Bearer TOKEN"'] : []),
      ...(certificates.size > 0 ? ["a client certificate"] : []),
    ];
    return kinds.join(", or ") || 'a key as "authorization: Bearer KEY"';
  }

  readonly #refuse = (thrown: unknown): never => {
    const error = fromUnknown(thrown);
    this.#metrics.refused(error);
    throw error;
  };
}

function allowed(principal: Principal, permission: Permission | undefined): Principal {
  const granted = principal.permissions;
  if (permission !== undefined && !granted.has(permission)) {
    throw permissionMissing(principal.name, permission, [...granted]);
  }
  return principal;
}

function unknownKey(): Error {
  return credentialsInvalid(
    "unknown_key",
    "the key is not known; it was mistyped, revoked, or is of another server",
  );
}
