import { createLocalJWKSet, errors, type JSONWebKeySet, type JWTVerifyGetKey } from "jose";
import { credentialsUnverifiable } from "../errors/access-errors.ts";
import { messageOf } from "../errors/from-unknown.ts";
import type { Log } from "../observability/log.ts";

/** Time for an issuer to answer, in ms. */
const askTimeoutMs = 5_000;
/** Largest key set that is taken, in bytes. */
const maxSetBytes = 1024 * 1024;
/** Age from which keys are asked for again, while the ones at hand still serve. */
const freshMs = 600_000;
/** Age from which they serve no more. */
const staleMs = 3_600_000;
/** Time between two questions for a key that is not in the set; whoever likes can name such keys. */
const cooldownMs = 30_000;
/** Time after a question that failed until the next. */
const retryMs = 2_000;

/** The public keys of an issuer, as JWTs are checked with them. */
export interface IssuerKeys {
  /**
   * Gives the key that a token names.
   *
   * @throws errors.JWKSNoMatchingKey, TensorwireError `CREDENTIALS_UNVERIFIABLE`
   */
  readonly get: JWTVerifyGetKey;
}

/**
 * Reads a JSON Web Key Set (RFC 7517, section 5).
 *
 * @throws Error if it is none, or has private keys, which belong to the issuer alone
 */
export function parseKeySet(text: string): JWTVerifyGetKey {
  const set = JSON.parse(text) as JSONWebKeySet;
  const keys = createLocalJWKSet(set);
  if (set.keys.some((key) => "d" in key || key.kty === "oct"))
    throw new Error("the key set has a private or secret key; only public keys belong into it");
  return keys;
}

/** Keys that a file has. */
export class FileIssuerKeys implements IssuerKeys {
  #keys: JWTVerifyGetKey | undefined;
  readonly get: JWTVerifyGetKey = async (header, token) => {
    if (!this.#keys) throw credentialsUnverifiable(new Error("no key set was taken yet"));
    return this.#keys(header, token);
  };

  /** Takes the keys of the file in place of those before; throws as {@link parseKeySet}. */
  take(text: string): void {
    this.#keys = parseKeySet(text);
  }
}

/** What {@link RemoteIssuerKeys} are made of. */
export interface RemoteIssuerKeysOptions {
  readonly url: URL;
  /** Called when the keys are others than before. */
  readonly onChange: () => void;
  readonly log: Log;
  /** Monotonic clock in ms. */
  readonly now: () => number;
}

/**
 * Keys that an issuer publishes under a URL. They are asked for when the first token comes, again after
 * ten minutes, and when a token names a key that is not among them; not more often than every 30 s. An
 * issuer that does not answer leaves the keys at hand in use until they are an hour old.
 */
export class RemoteIssuerKeys implements IssuerKeys {
  readonly #options: RemoteIssuerKeysOptions;
  #keys:
    | { readonly get: JWTVerifyGetKey; readonly text: string; readonly since: number }
    | undefined;
  #asking: Promise<JWTVerifyGetKey> | undefined;
  /** When the issuer may be asked again. */
  #askFrom = Number.NEGATIVE_INFINITY;
  #failure: unknown;

  constructor(options: RemoteIssuerKeysOptions) {
    this.#options = options;
  }

  readonly get: JWTVerifyGetKey = async (header, token) => {
    const keys = this.#keys;
    const age = keys ? this.#options.now() - keys.since : Number.POSITIVE_INFINITY;
    if (!keys || age >= staleMs) return (await this.#ask())(header, token);
    // Nobody has to wait for the next keys; that they did not come is logged.
    if (age >= freshMs && this.#mayAsk) this.#ask().catch(() => {});
    try {
      return await keys.get(header, token);
    } catch (error) {
      if (!(error instanceof errors.JWKSNoMatchingKey) || !this.#mayAsk) throw error;
    }
    return (await this.#ask())(header, token);
  };

  get #mayAsk(): boolean {
    return this.#asking !== undefined || this.#options.now() >= this.#askFrom;
  }

  /** Asks the issuer, one question at a time. */
  #ask(): Promise<JWTVerifyGetKey> {
    if (!this.#mayAsk) return Promise.reject(credentialsUnverifiable(this.#failure));
    this.#asking ??= this.#fetch().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #fetch(): Promise<JWTVerifyGetKey> {
    const { url, onChange, log, now } = this.#options;
    try {
      const text = await readKeySet(url);
      const before = this.#keys;
      const get = before?.text === text ? before.get : parseKeySet(text);
      this.#keys = { get, text, since: now() };
      this.#askFrom = now() + cooldownMs;
      if (before && before.text !== text) onChange();
      return get;
    } catch (error) {
      this.#askFrom = now() + retryMs;
      this.#failure = error;
      log.warn({ url: url.href, why: whyOf(error) }, "the keys of the token issuer cannot be had");
      throw credentialsUnverifiable(error);
    }
  }
}

async function readKeySet(url: URL): Promise<string> {
  const response = await fetch(url, {
    headers: { accept: "application/jwk-set+json, application/json" },
    redirect: "error",
    signal: AbortSignal.timeout(askTimeoutMs),
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`it answers with status ${response.status}`);
  }
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    if (bytes > maxSetBytes) throw new Error(`it sends more than ${maxSetBytes} bytes`);
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** fetch() says only that it failed, and why in the cause. */
function whyOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  return cause === undefined ? messageOf(error) : `${messageOf(error)}: ${messageOf(cause)}`;
}
