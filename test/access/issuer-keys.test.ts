import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import test, { type ExecutionContext } from "ava";
import { jwtVerify } from "jose";
import { RemoteIssuerKeys } from "../../server/access/issuer-keys.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { recordingLog } from "../support/silent-log.ts";
import { ecIssuer, keySet, type TestIssuer } from "./signed-tokens.ts";

const first = ecIssuer("first");
const second = ecIssuer("second");

/** An issuer's server whose answer can be set, and the keys that come from it. */
async function startIssuer(t: ExecutionContext) {
  const state = { status: 200, body: keySet(first), asked: 0, changes: 0, time: 0 };
  const server = createServer((request, response) => {
    state.asked++;
    if (state.status === 302) response.setHeader("location", request.url ?? "/");
    response.writeHead(state.status).end(state.body);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const log = recordingLog();
  const keys = new RemoteIssuerKeys({
    url: new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}/jwks`),
    onChange: () => {
      state.changes++;
    },
    log,
    now: () => state.time,
  });
  const verify = async (issuer: TestIssuer): Promise<string> => {
    try {
      await jwtVerify(issuer.token({}), keys.get);
      return "good";
    } catch (error) {
      return error instanceof TensorwireError ? error.reason : (error as { code: string }).code;
    }
  };
  return { state, log, verify };
}

test("keys are asked for once for tokens that come together, and again after ten minutes", async (t) => {
  const { state, verify } = await startIssuer(t);
  t.deepEqual(await Promise.all([first, first, first].map(verify)), ["good", "good", "good"]);
  t.is(state.asked, 1);
  state.time = 599_999;
  t.is(await verify(first), "good");
  t.is(state.asked, 1);
  state.time = 600_000;
  state.body = keySet(second);
  // The keys at hand serve until the others are there.
  t.is(await verify(first), "good");
  while (state.changes === 0) await verify(second);
  t.is(await verify(second), "good");
  t.is(await verify(first), "ERR_JWKS_NO_MATCHING_KEY");
  t.is(state.asked, 2);
});

test("a key that is not known is asked for, but not more often than every 30 s", async (t) => {
  const { state, verify } = await startIssuer(t);
  t.is(await verify(second), "ERR_JWKS_NO_MATCHING_KEY");
  t.is(await verify(second), "ERR_JWKS_NO_MATCHING_KEY");
  t.is(state.asked, 1);
  state.body = keySet(first, second);
  state.time = 29_999;
  t.is(await verify(second), "ERR_JWKS_NO_MATCHING_KEY");
  state.time = 30_000;
  t.is(await verify(second), "good");
  t.is(state.asked, 2);
  t.is(state.changes, 1);
});

test("an issuer that does not answer makes tokens UNAVAILABLE, and is asked every 2 s", async (t) => {
  const { state, log, verify } = await startIssuer(t);
  for (const [status, body] of [
    [500, keySet(first)],
    [302, keySet(first)],
    [200, "<html>"],
    [200, " ".repeat(2 ** 20 + 1)],
  ] as const) {
    Object.assign(state, { status, body });
    state.time += 2_000;
    t.is(await verify(first), "CREDENTIALS_UNVERIFIABLE");
  }
  t.is(await verify(first), "CREDENTIALS_UNVERIFIABLE");
  t.is(state.asked, 4);
  t.deepEqual(
    log.entries.map(({ level }) => level),
    ["warn", "warn", "warn", "warn"],
  );
  Object.assign(state, { status: 200, body: keySet(first) });
  state.time += 2_000;
  t.is(await verify(first), "good");
});

test("keys at hand serve for an hour while the issuer is away, also beside tokens of unknown keys", async (t) => {
  const { state, verify } = await startIssuer(t);
  t.is(await verify(first), "good");
  state.status = 503;
  for (const time of [30_000, 600_000, 1_800_000, 3_599_999]) {
    state.time = time;
    t.is(await verify(second), "CREDENTIALS_UNVERIFIABLE");
    t.is(await verify(first), "good");
  }
  state.time = 3_600_000 + 2_000;
  t.is(await verify(first), "CREDENTIALS_UNVERIFIABLE");
});
