import { createSign, generateKeyPairSync, type KeyObject, sign } from "node:crypto";

/** An issuer of tokens that shares no code with what checks them: JWS by hand (RFC 7515, section 5.1). */
export interface TestIssuer {
  readonly kid: string;
  /** The public key as JWK. */
  readonly jwk: Readonly<Record<string, unknown>>;
  /** Signs claims; `header` goes over the usual one. */
  token(claims: object, header?: Readonly<Record<string, unknown>>): string;
}

const base64url = (value: object): string =>
  Buffer.from(JSON.stringify(value)).toString("base64url");

function issuer(
  kid: string,
  alg: string,
  publicKey: KeyObject,
  signature: (input: Buffer) => Buffer,
): TestIssuer {
  return {
    kid,
    jwk: { ...publicKey.export({ format: "jwk" }), kid, alg, use: "sig" },
    token(claims, header = {}) {
      const input = `${base64url({ alg, kid, typ: "JWT", ...header })}.${base64url(claims)}`;
      return `${input}.${signature(Buffer.from(input)).toString("base64url")}`;
    },
  };
}

/** An issuer whose tokens are signed with ES256. */
export function ecIssuer(kid: string): TestIssuer {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return issuer(kid, "ES256", publicKey, (input) =>
    sign("sha256", input, { key: privateKey, dsaEncoding: "ieee-p1363" }),
  );
}

/** An issuer whose tokens are signed with RS256. */
export function rsaIssuer(kid: string): TestIssuer {
  const { publicKey, privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  return issuer(kid, "RS256", publicKey, (input) =>
    createSign("RSA-SHA256").update(input).sign(privateKey),
  );
}

/** A key set as issuers publish it. */
export function keySet(...issuers: readonly TestIssuer[]): string {
  return JSON.stringify({ keys: issuers.map(({ jwk }) => jwk) });
}
