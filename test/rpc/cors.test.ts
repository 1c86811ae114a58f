import type { UniversalServerRequest } from "@connectrpc/connect/protocol";
import test from "ava";
import { withCors } from "../../server/rpc/cors.ts";
import { text } from "../wire/start-wire.ts";

function request(method: string, header: Record<string, string>): UniversalServerRequest {
  return {
    httpVersion: "1.1",
    method,
    url: "http://localhost/x",
    header: new Headers(header),
    body: text(""),
    signal: new AbortController().signal,
  };
}

const answer = async () => ({ status: 200, header: new Headers({ "x-answer": "1" }) });
const origin = "https://page.example";

test("a page that may call is told so, with the headers that it may read", async (t) => {
  const handler = withCors([origin], answer);
  const { status, header } = await handler(
    request("POST", { origin, "sec-fetch-site": "cross-site" }),
  );
  t.is(status, 200);
  t.is(header?.get("x-answer"), "1");
  t.is(header?.get("access-control-allow-origin"), origin);
  t.is(header?.get("vary"), "origin");
  for (const name of ["grpc-status", "grpc-message", "grpc-status-details-bin"]) {
    t.true(header?.get("access-control-expose-headers")?.toLowerCase().includes(name), name);
  }
});

test("a preflight is answered for what Connect and gRPC-Web send, and for metadata", async (t) => {
  const handler = withCors([origin], () => Promise.reject(new Error("a preflight is no call")));
  const { status, header } = await handler(
    request("OPTIONS", {
      origin,
      "access-control-request-method": "POST",
      "access-control-request-headers": "content-type,x-request-id, bad name",
    }),
  );
  t.is(status, 204);
  t.is(header?.get("access-control-allow-origin"), origin);
  t.is(header?.get("access-control-allow-methods"), "GET, HEAD, POST");
  const allowed = header?.get("access-control-allow-headers")?.toLowerCase().split(", ") ?? [];
  for (const name of ["x-grpc-web", "connect-protocol-version", "grpc-timeout", "x-request-id"]) {
    t.true(allowed.includes(name), name);
  }
  t.is(new Set(allowed).size, allowed.length);
  t.false(allowed.some((name) => name.includes(" ")));
});

test("any origin is allowed by a star", async (t) => {
  const { header } = await withCors(["*"], answer)(request("GET", { origin: "null" }));
  t.is(header?.get("access-control-allow-origin"), "*");
});

test("other pages get no headers, and their calls are refused", async (t) => {
  for (const origins of [[], ["https://other.example"]]) {
    const handler = withCors(origins, answer);
    const read = await handler(request("GET", { origin, "sec-fetch-site": "cross-site" }));
    t.is(read.status, 200);
    t.is(read.header?.get("access-control-allow-origin"), null);
    for (const site of ["cross-site", "same-site"]) {
      const call = await handler(request("POST", { origin, "sec-fetch-site": site }));
      t.is(call.status, 403, site);
    }
  }
});

test("a refused RPC is told so in its protocol", async (t) => {
  const { status, body } = await withCors(
    [],
    answer,
  )(
    request("POST", {
      origin,
      "sec-fetch-site": "cross-site",
      "content-type": "application/grpc-web+proto",
    }),
  );
  t.is(status, 200);
  t.regex(Buffer.concat(await Array.fromAsync(body!)).toString("latin1"), /grpc-status: 7\r\n/);
});

test("the server's own pages, and callers that are no pages, call freely", async (t) => {
  const handler = withCors([], answer);
  for (const header of [
    {},
    { origin, "sec-fetch-site": "same-origin" },
    { origin, "sec-fetch-site": "none" },
    { origin },
  ]) {
    t.is((await handler(request("POST", header as Record<string, string>))).status, 200);
  }
});
