import { once } from "node:events";
import { readFile, rename, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { credentials, type ServiceError, status } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { createAccessKey, hashAccessKey } from "../../server/access/access-key.ts";
import { ecIssuer, keySet, rsaIssuer } from "../access/signed-tokens.ts";
import { startServer } from "../support/command.ts";
import { fp32Request, type GrpcJsCaller, grpcJsClient } from "../support/grpc-js-client.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";

const models = fileURLToPath(new URL("../fixtures/models", import.meta.url));
const certificates = fileURLToPath(new URL("../access/certificates", import.meta.url));
const service = "inference.GRPCInferenceService";
const scalar = fp32Request("scalar", "x", [], Float32Array.of(2));

/** Calls ModelInfer and ModelMetadata of a model, and gives the names of the codes. */
async function codesOf(
  t: ExecutionContext,
  address: string,
  caller: GrpcJsCaller,
): Promise<{ readonly infer: string; readonly metadata: string; readonly load: string }> {
  const client = grpcJsClient(address.replace("127.0.0.1", "localhost"), service, {}, caller);
  t.teardown(() => client.close());
  const codeOf = (answer: Promise<unknown>): Promise<string> =>
    answer.then(
      () => "OK",
      ({ code }: ServiceError) => status[code],
    );
  return {
    infer: await codeOf(client.call("ModelInfer", scalar)),
    metadata: await codeOf(client.call("ModelMetadata", { name: "scalar" })),
    load: await codeOf(client.call("RepositoryModelLoad", { model_name: "scalar" })),
  };
}

const bearer = (token: string): GrpcJsCaller => ({
  metadata: { authorization: `Bearer ${token}` },
});

test("tokens of an issuer: what their claims grant, and no more", async (t) => {
  const issuer = ecIssuer("first");
  const stranger = rsaIssuer("first");
  let asked = 0;
  const jwks = createServer((request, response) => {
    asked++;
    t.is(request.url, "/keys");
    response.setHeader("content-type", "application/jwk-set+json");
    response.end(keySet(issuer));
  }).listen(0, "127.0.0.1");
  t.teardown(() => jwks.close());
  await once(jwks, "listening");
  const { port } = jwks.address() as AddressInfo;
  const { address } = await startServer(t, [
    models,
    ...["--jwt-issuer", "https://issuer.example", "--jwt-audience", "tensorwire"],
    ...["--jwt-jwks", `http://127.0.0.1:${port}/keys`],
  ]);
  const now = Math.floor(Date.now() / 1000);
  const claims = {
    iss: "https://issuer.example",
    aud: ["other", "tensorwire"],
    sub: "shop",
    exp: now + 600,
    scope: "openid tensorwire:infer",
  };
  const ask = (token: string) => codesOf(t, address, bearer(token));
  t.deepEqual(await ask(issuer.token(claims)), {
    infer: "OK",
    metadata: "PERMISSION_DENIED",
    load: "PERMISSION_DENIED",
  });
  t.deepEqual(
    await ask(
      issuer.token({
        ...claims,
        scope: "tensorwire:infer tensorwire:read",
        tensorwire_models: ["fixed"],
      }),
    ),
    { infer: "PERMISSION_DENIED", metadata: "PERMISSION_DENIED", load: "PERMISSION_DENIED" },
  );
  const refused = {
    infer: "UNAUTHENTICATED",
    metadata: "UNAUTHENTICATED",
    load: "UNAUTHENTICATED",
  };
  t.deepEqual(await ask(issuer.token({ ...claims, exp: now - 600 })), refused);
  t.deepEqual(await ask(issuer.token({ ...claims, aud: "other" })), refused);
  t.deepEqual(await ask(stranger.token(claims)), refused);
  t.is(asked, 1);
});

test("names in client certificates, over TLS that asks for one", async (t) => {
  const folder = await temporaryFolder(t, {
    "keys.yaml":
      '- { name: web, certificate: "spiffe://cluster.local/ns/shop/sa/web", permissions: [infer] }\n' +
      "- { name: operator, certificate: CN=operator, permissions: [read, control] }\n",
  });
  const file = (name: string): string => join(certificates, name);
  const server = await startServer(t, [
    models,
    ...["--api-keys", join(folder, "keys.yaml")],
    ...["--tls-cert", file("server.pem"), "--tls-key", file("server.key")],
    ...["--tls-client-ca", file("ca.pem")],
  ]);
  const ca = await readFile(file("ca.pem"));
  const as = async (name: string) =>
    codesOf(t, server.address, {
      credentials: credentials.createSsl(
        ca,
        await readFile(file(`${name}.key`)),
        await readFile(file(`${name}.pem`)),
      ),
    });
  const denied = "PERMISSION_DENIED";
  t.deepEqual(await as("workload"), { infer: "OK", metadata: denied, load: denied });
  t.deepEqual(await as("operator"), { infer: denied, metadata: "OK", load: "OK" });
  t.deepEqual(await as("stranger"), {
    infer: "UNAUTHENTICATED",
    metadata: "UNAUTHENTICATED",
    load: "UNAUTHENTICATED",
  });
  const audit = (): unknown[] =>
    server
      .stderr()
      .split("\n")
      .filter((line) => line.includes('"audit"') && line.endsWith("}"))
      .map((line) => {
        const { principal, credential, outcome } = JSON.parse(line);
        return [principal, credential, outcome];
      });
  // The log comes by another way than the answers.
  await until(() => audit().length === 3);
  t.deepEqual(audit(), [
    ["web", null, "PERMISSION_MISSING"],
    ["operator", "certificate", "OK"],
    [null, null, "CREDENTIALS_INVALID"],
  ]);
});

test("a file of keys that changes takes hold without a restart; one that is broken changes nothing", async (t) => {
  const [old, next] = [createAccessKey(), createAccessKey()];
  const entry = (name: string, key: string): string =>
    `- { name: ${name}, sha256: "${hashAccessKey(key)}", permissions: [infer] }\n`;
  const folder = await temporaryFolder(t, { "keys.yaml": entry("old", old) });
  const path = join(folder, "keys.yaml");
  const replace = async (text: string): Promise<void> => {
    await writeFile(`${path}.new`, text);
    await rename(`${path}.new`, path);
  };
  const server = await startServer(t, [
    models,
    ...["--api-keys", path, "--access-reload-interval", "50ms"],
  ]);
  const inferAs = async (key: string): Promise<string> =>
    (await codesOf(t, server.address, bearer(key))).infer;
  t.is(await inferAs(old), "OK");
  t.is(await inferAs(next), "UNAUTHENTICATED");
  await replace(entry("next", next));
  await until(async () => (await inferAs(next)) === "OK");
  t.is(await inferAs(old), "UNAUTHENTICATED");
  await replace(`- { name: next, key: "${next}" }\n`);
  await until(() => server.stderr().includes("never stands in the file"));
  t.is(await inferAs(next), "OK");
  t.false(server.stderr().includes(next));
});
