import { createHmac, generateKeyPairSync } from "node:crypto";
import test, { type ExecutionContext } from "ava";
import type { VerifiedToken } from "../../server/access/access-control.ts";
import { FileIssuerKeys, parseKeySet } from "../../server/access/issuer-keys.ts";
import { createJwtVerifier } from "../../server/access/jwt-verifier.ts";
import type { TokenClaims } from "../../server/access/token-claims.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { ecIssuer, keySet, rsaIssuer } from "./signed-tokens.ts";

const nowSeconds = 1_800_000_000;
const ec = ecIssuer("ec-1");
const rsa = rsaIssuer("rsa-1");
const claims = {
  iss: "https://issuer.example",
  aud: "tensorwire",
  sub: "alice",
  exp: nowSeconds + 3600,
  scope: "openid tensorwire:infer tensorwire:read tensorwire:rule",
};

function verify(
  token: string,
  names: TokenClaims = { permissions: "scope", models: "tensorwire_models" },
): Promise<VerifiedToken> {
  const keys = new FileIssuerKeys();
  keys.take(keySet(ec, rsa));
  const verifier = createJwtVerifier({
    issuer: claims.iss,
    audiences: ["other", "tensorwire"],
    keys,
    claims: names,
    now: () => nowSeconds * 1000,
  });
  return verifier.verify(token);
}

async function refusal(t: ExecutionContext, token: string): Promise<string> {
  const error = await t.throwsAsync(verify(token), { instanceOf: TensorwireError });
  t.is(error?.reason, "CREDENTIALS_INVALID");
  // Nothing of the token is repeated.
  for (const part of token.split(".")) t.false(part.length > 8 && error?.message.includes(part));
  return `${error?.metadata.refusal}: ${error?.message}`;
}

for (const issuer of [ec, rsa]) {
  test(`a good token of ${issuer.kid} names who calls and what it may do`, async (t) => {
    const { principal, validUntil } = await verify(issuer.token(claims));
    t.is(principal.name, "alice");
    t.is(principal.credential, "token");
    t.deepEqual([...principal.permissions], ["infer", "read"]);
    t.true(principal.models.all);
    // Five minutes at most.
    t.is(validUntil, nowSeconds * 1000 + 300_000);
  });
}

test("a token is remembered no longer than it is valid", async (t) => {
  const exp = nowSeconds + 100;
  t.is((await verify(ec.token({ ...claims, exp }))).validUntil, exp * 1000);
});

test("permissions and models come from the claims that are named, also from within others", async (t) => {
  const token = ec.token({
    ...claims,
    realm_access: { roles: ["tensorwire:control", "admin"] },
    "https://example.org/models": "iris* digits",
  });
  const { principal } = await verify(token, {
    permissions: "realm_access.roles",
    models: "https://example.org/models",
  });
  t.deepEqual([...principal.permissions], ["control"]);
  t.deepEqual(
    ["iris-2", "digits", "other"].map((model) => principal.models.allows(model)),
    [true, true, false],
  );
});

test("a claim of models that is empty allows none, and one of another type refuses the token", async (t) => {
  const none = await verify(ec.token({ ...claims, tensorwire_models: [] }));
  t.false(none.principal.models.allows("iris"));
  t.regex(
    await refusal(t, ec.token({ ...claims, tensorwire_models: { iris: true } })),
    /claim tensorwire_models is neither a text nor a list/,
  );
});

test("clocks may differ by 30 s", async (t) => {
  await t.notThrowsAsync(verify(ec.token({ ...claims, exp: nowSeconds - 29 })));
  await t.notThrowsAsync(verify(ec.token({ ...claims, nbf: nowSeconds + 29 })));
  t.regex(await refusal(t, ec.token({ ...claims, exp: nowSeconds - 31 })), /^expired_token: /);
  t.regex(await refusal(t, ec.token({ ...claims, nbf: nowSeconds + 31 })), /not valid yet/);
});

test("a name with control characters goes into no log as it is", async (t) => {
  const { principal } = await verify(ec.token({ ...claims, sub: "a\nb\u001b[31m" }));
  t.is(principal.name, "a?b?[31m");
});

test("tokens of another issuer or audience, or without an end, are refused", async (t) => {
  const { exp: _, ...endless } = claims;
  t.regex(
    await refusal(t, ec.token({ ...claims, iss: "https://evil.example" })),
    /^invalid_token: .*another issuer, expected "https:\/\/issuer\.example"/,
  );
  t.regex(
    await refusal(t, ec.token({ ...claims, aud: ["a", "b"] })),
    /another audience, expected "other" or "tensorwire"/,
  );
  t.regex(await refusal(t, ec.token(endless)), /has no claim exp/);
});

test("a token that was changed, or signed with another key of the same name, is refused", async (t) => {
  const [header, , signature] = ec.token(claims).split(".");
  const forged = Buffer.from(JSON.stringify({ ...claims, sub: "bob" })).toString("base64url");
  t.regex(await refusal(t, `${header}.${forged}.${signature}`), /signature is wrong/);
  t.regex(await refusal(t, ecIssuer("ec-1").token(claims)), /signature is wrong/);
  t.regex(await refusal(t, ecIssuer("ec-2").token(claims)), /not among those of its issuer/);
});

test("no token is taken that whoever checks it could have made, or that is not signed", async (t) => {
  const encode = (value: object): string =>
    Buffer.from(JSON.stringify(value)).toString("base64url");
  // CVE-2015-9235: the public key as the secret of an HMAC.
  const input = `${encode({ alg: "HS256", kid: "rsa-1" })}.${encode(claims)}`;
  const mac = createHmac("sha256", JSON.stringify(rsa.jwk)).update(input).digest("base64url");
  t.regex(await refusal(t, `${input}.${mac}`), /algorithm is not allowed; allowed are RS256/);
  t.regex(
    await refusal(t, `${encode({ alg: "none" })}.${encode(claims)}.`),
    /algorithm is not allowed/,
  );
  t.regex(await refusal(t, "a.b.c"), /no well-formed JWT/);
});

test("a key set with a private or secret key, and what is none, is not taken", (t) => {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const secret = JSON.stringify({ keys: [privateKey.export({ format: "jwk" })] });
  t.throws(() => parseKeySet(secret), { message: /private or secret key/ });
  t.throws(() => parseKeySet('{"keys":[{"kty":"oct","k":"AAAA"}]}'), {
    message: /private or secret key/,
  });
  t.throws(() => parseKeySet('{"keys":1}'));
  t.throws(() => parseKeySet("<html>"));
});
