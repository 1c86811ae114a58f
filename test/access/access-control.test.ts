import test from "ava";
import { Registry } from "prom-client";
import {
  AccessControl,
  type TokenVerifier,
  type VerifiedToken,
} from "../../server/access/access-control.ts";
import { parseAccessFile } from "../../server/access/access-file.ts";
import { createAccessKey, hashAccessKey } from "../../server/access/access-key.ts";
import { allModels } from "../../server/access/model-patterns.ts";
import type { PresentedCredentials } from "../../server/access/presented-credentials.ts";
import type { Principal } from "../../server/access/principal.ts";
import { fromUnknown } from "../../server/errors/from-unknown.ts";

const key = createAccessKey();
const accessFile = `
- { name: shop, sha256: "${hashAccessKey(key)}", permissions: [infer], models: ["iris*"] }
- { name: web, certificate: "spiffe://c/web", permissions: [read] }
`;

const alice: Principal = {
  name: "alice",
  credential: "token",
  permissions: new Set(["infer"]),
  models: allModels,
};

function control(tokens?: TokenVerifier, now: () => number = () => 0) {
  const registry = new Registry();
  const access = new AccessControl({ tokens, registry, now });
  access.setTable(parseAccessFile(accessFile, "keys.yaml"));
  return { access, registry };
}

function presented(given: Partial<PresentedCredentials>): PresentedCredentials {
  return { authorization: undefined, apiKey: undefined, certificateNames: [], ...given };
}

/** Name of who calls, or the reason of the refusal. */
async function who(access: AccessControl, given: Partial<PresentedCredentials>): Promise<string> {
  try {
    return (await access.admit(undefined, presented(given))).name;
  } catch (thrown) {
    return `${fromUnknown(thrown).reason} ${fromUnknown(thrown).metadata.refusal}`;
  }
}

test("a key is known in both headers, in any case of the scheme, and found again by the cache", async (t) => {
  const { access } = control();
  for (const authorization of [`Bearer ${key}`, `bearer   ${key}`, `Bearer ${key}`])
    t.is(await who(access, { authorization }), "shop");
  t.is(await who(access, { apiKey: key }), "shop");
  t.is(await who(access, { apiKey: key }), "shop");
});

test("what is not quite a key is refused", async (t) => {
  const { access } = control();
  const wrong = "CREDENTIALS_INVALID unknown_key";
  await who(access, { authorization: `Bearer ${key}` });
  for (const authorization of [
    key,
    `Basic ${key}`,
    `Bearer ${key}x`,
    `Bearer ${key.slice(0, -1)}`,
    `Bearer ${key}, Bearer ${key}`,
    `Bearer ${hashAccessKey(key)}`,
    "Bearer",
    "",
  ])
    t.is(await who(access, { authorization }), wrong, authorization);
  t.is(await who(access, { apiKey: `Bearer ${key}` }), wrong);
  t.is(await who(access, {}), "CREDENTIALS_MISSING no_credentials");
});

test("bad credentials are refused, though others beside them are good", async (t) => {
  const { access } = control();
  const certificateNames = ["spiffe://c/web"];
  t.is(await who(access, { certificateNames }), "web");
  t.is(await who(access, { certificateNames: ["CN=x", "spiffe://c/web"] }), "web");
  t.is(await who(access, { certificateNames, apiKey: key }), "shop");
  t.is(await who(access, { certificateNames, apiKey: "x" }), "CREDENTIALS_INVALID unknown_key");
  t.is(
    await who(access, { certificateNames: ["CN=web"] }),
    "CREDENTIALS_INVALID unknown_certificate",
  );
});

test("another table takes hold at once", async (t) => {
  const { access } = control();
  t.is(await who(access, { apiKey: key, authorization: `Bearer ${key}` }), "shop");
  t.is(await who(access, { authorization: `Bearer ${key}` }), "shop");
  access.setTable(parseAccessFile("[]", "keys.yaml"));
  t.is(await who(access, { apiKey: key }), "CREDENTIALS_INVALID unknown_key");
  t.is(await who(access, { authorization: `Bearer ${key}` }), "CREDENTIALS_INVALID unknown_key");
});

test("permissions and models are those of the principal", (t) => {
  const { access } = control();
  const shop = access.admit("infer", presented({ apiKey: key })) as Principal;
  access.checkModel(shop, "iris-2");
  const reasonOf = (action: () => void): string => fromUnknown(t.throws(action)).reason;
  t.is(
    reasonOf(() => access.admit("control", presented({ apiKey: key }))),
    "PERMISSION_MISSING",
  );
  t.is(
    reasonOf(() => access.checkPermission(shop, "read")),
    "PERMISSION_MISSING",
  );
  t.is(
    reasonOf(() => access.checkModel(shop, "digits")),
    "MODEL_FORBIDDEN",
  );
  t.is(
    reasonOf(() => access.checkAllModels(shop, "this")),
    "MODEL_FORBIDDEN",
  );
  // Whoever did not come through the gate is nobody.
  t.is(
    reasonOf(() => access.checkModel(undefined, "iris")),
    "CREDENTIALS_MISSING",
  );
  t.is(
    reasonOf(() => access.checkPermission(undefined, "read")),
    "CREDENTIALS_MISSING",
  );
});

test("a token is checked once until it has to be checked again", async (t) => {
  let time = 0;
  let checks = 0;
  const { access } = control(
    {
      async verify(): Promise<VerifiedToken> {
        checks++;
        return { principal: alice, validUntil: time + 100 };
      },
    },
    () => time,
  );
  const authorization = "Bearer a.b.c";
  const together = Array.from({ length: 5 }, () => who(access, { authorization }));
  t.deepEqual(new Set(await Promise.all(together)), new Set(["alice"]));
  t.is(checks, 1);
  time = 99;
  // What is remembered takes no time.
  t.is(access.admit("infer", presented({ authorization })), alice);
  time = 100;
  t.is(await who(access, { authorization }), "alice");
  t.is(checks, 2);
  access.forget();
  t.is(await who(access, { authorization }), "alice");
  t.is(checks, 3);
});

test("what was found while the keys changed is not remembered", async (t) => {
  const waiting: PromiseWithResolvers<VerifiedToken>[] = [];
  const { access } = control({
    verify() {
      const found = Promise.withResolvers<VerifiedToken>();
      waiting.push(found);
      return found.promise;
    },
  });
  const authorization = "Bearer a.b.c";
  const early = who(access, { authorization });
  access.forget();
  waiting[0]?.resolve({ principal: alice, validUntil: 100 });
  t.is(await early, "alice");
  const late = who(access, { authorization });
  t.is(waiting.length, 2);
  waiting[1]?.reject(new Error("no more"));
  t.is(await late, "INTERNAL undefined");
});

test("refusals are counted by reason, and nothing of a caller is a label", async (t) => {
  const { access, registry } = control();
  await who(access, {});
  await who(access, { apiKey: "x" });
  await who(access, { apiKey: "y" });
  t.throws(() => access.admit("read", presented({ apiKey: key })));
  const text = await registry.getSingleMetricAsString("tensorwire_access_refusals_total");
  const counts = [...text.matchAll(/\{reason="(\w+)"\} (\d+)/g)].map(([, reason, n]) => [
    reason,
    n,
  ]);
  t.deepEqual(Object.fromEntries(counts), {
    no_credentials: "1",
    unknown_key: "2",
    invalid_token: "0",
    expired_token: "0",
    unknown_certificate: "0",
    unverifiable_token: "0",
    missing_permission: "1",
    forbidden_model: "0",
  });
});
