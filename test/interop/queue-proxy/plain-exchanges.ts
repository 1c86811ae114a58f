import {
  call1,
  call2,
  type Http1Request,
  type Http2Request,
  openSocket,
  readAnswer1,
  textOfRequest,
} from "../../queue-proxy/http-calls.ts";
import { grpcMessage } from "../../queue-proxy/start-user-server.ts";
import { comparable } from "./comparable.ts";
import type { Exchange, ExchangeGroup } from "./exchange.ts";

function one(name: string, request: Http1Request): Exchange {
  return { name, run: async ({ proxy }) => comparable(await call1(proxy.port, request)) };
}

function two(name: string, request: Http2Request): Exchange {
  return { name, run: async ({ proxy }) => comparable(await call2(proxy.port, request)) };
}

/** A call of gRPC. */
function grpc(name: string, method: string, request: Http2Request = {}): Exchange {
  return two(name, {
    body: grpcMessage(Buffer.from("hello")),
    ...request,
    headers: {
      ":method": "POST",
      ":path": `/test.Service/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      "user-agent": "grpc-test/1",
      ...request.headers,
    },
  });
}

const megabyte = Buffer.alloc(1024 * 1024, "x");

/** Methods, heads and bodies over HTTP/1.1. */
const http1: readonly Exchange[] = [
  one("GET", { path: "/echo?x=1&y=%20z" }),
  one("HEAD", { method: "HEAD", path: "/echo" }),
  one("POST with a length", { method: "POST", path: "/echo", body: "hello" }),
  one("POST of nothing", { method: "POST", path: "/echo", body: "" }),
  one("POST in chunks", { method: "POST", path: "/echo", body: "hello chunks", chunked: true }),
  one("POST of 1 MiB", { method: "POST", path: "/echo", body: megabyte }),
  one("POST of 1 MiB in chunks", {
    method: "POST",
    path: "/echo",
    body: megabyte,
    chunked: true,
  }),
  one("PUT", { method: "PUT", path: "/echo", body: "put" }),
  one("PATCH", { method: "PATCH", path: "/echo", body: "patch" }),
  one("DELETE", { method: "DELETE", path: "/echo" }),
  one("OPTIONS", { method: "OPTIONS", path: "/echo" }),
  one("a method that nobody knows", { method: "PURGE", path: "/echo" }),
  one("a path with escapes", { path: "/a%2Fb/%E2%82%AC/;p=1" }),
  one("a query of a question mark", { path: "/echo?" }),
  one("HTTP/1.0", { path: "/echo", version: "1.0" }),
  one("HTTP/1.0 that wants to stay", {
    path: "/echo",
    version: "1.0",
    headers: { Connection: "keep-alive" },
  }),
  one("Connection: close", { path: "/echo", headers: { Connection: "close" } }),
  one("an absolute target", { path: "http://other.example/echo?y" }),
  one("many headers, some twice", {
    path: "/echo",
    headers: { Accept: "a/b", accept: "c/d", Cookie: "a=1; b=2", "X-Long": "v".repeat(4000) },
  }),
  one("what speaks of the connection stays here", {
    path: "/echo",
    headers: {
      Connection: "X-Hop, keep-alive",
      "X-Hop": "gone",
      "Keep-Alive": "timeout=5",
      "Proxy-Connection": "keep-alive",
      TE: "trailers",
    },
  }),
  one("status 404", { path: "/status?n=404" }),
  one("status 204", { path: "/status?n=204" }),
  {
    ...one("status 304", { path: "/status?n=304" }),
    differs: {
      why: "Go's server takes the content-type out of an answer without content; a proxy passes it on",
      ours: {
        status: 304,
        headers: { "content-type": "text/plain" },
        body: "",
        trailers: {},
        broken: undefined,
        informational: [],
      },
    },
  },
  one("status 500", { path: "/status?n=500" }),
  one("status 599", { path: "/status?n=599" }),
  one("headers of an answer", { path: "/headers" }),
  one("an informational answer", { path: "/early" }),
  one("an answer in pieces", { path: "/pieces?n=20" }),
  one("an answer in pieces with a length", { path: "/sized-pieces?n=20" }),
  one("trailers of an answer", { path: "/trailers" }),
  one("an answer of 1 MiB", { path: "/big?n=1048576" }),
  one("an answer until the connection ends", { path: "/until-close" }),
  {
    name: "Expect: 100-continue",
    run: async ({ proxy }) => {
      const socket = await openSocket(proxy.port);
      const whole = textOfRequest({
        method: "POST",
        path: "/echo",
        headers: { Expect: "100-continue" },
        body: "waited for",
      });
      const end = whole.indexOf("\r\n\r\n") + 4;
      socket.write(whole.subarray(0, end));
      socket.once("data", () => socket.write(whole.subarray(end)));
      return comparable(await readAnswer1(socket));
    },
  },
  {
    name: "two requests on one connection",
    run: async ({ proxy }) => {
      const socket = await openSocket(proxy.port);
      socket.write(textOfRequest({ path: "/echo?first" }));
      const first = await readAnswer1(socket, "UPGRADE");
      socket.removeAllListeners("data");
      socket.write(textOfRequest({ path: "/echo?second" }));
      return [comparable(first), comparable(await readAnswer1(socket))];
    },
  },
  {
    name: "two requests sent at once",
    run: async ({ proxy }) => {
      const socket = await openSocket(proxy.port);
      const close = { Connection: "close" };
      socket.write(
        Buffer.concat([
          textOfRequest({ path: "/status?n=201" }),
          textOfRequest({ path: "/status?n=202", headers: close }),
        ]),
      );
      let text = "";
      for await (const part of socket) text += (part as Buffer).toString("latin1");
      return text.match(/HTTP\/1.1 \d+|status/g);
    },
  },
];

/** What a proxy adds, takes away and restores. */
const headers: readonly Exchange[] = [
  one("X-Forwarded-For is added to", {
    path: "/echo",
    headers: { "X-Forwarded-For": "10.0.0.1, 10.0.0.2" },
  }),
  one("Forwarded is made of X-Forwarded-*", {
    path: "/echo",
    headers: {
      "X-Forwarded-For": "10.0.0.1",
      "X-Forwarded-Proto": "https",
      "X-Forwarded-Host": "public.example",
    },
  }),
  one("Forwarded with IPv6", {
    path: "/echo",
    headers: { "X-Forwarded-For": "2001:db8::1, 10.0.0.1" },
  }),
  one("Forwarded of the protocol alone", {
    path: "/echo",
    headers: { "X-Forwarded-Proto": "http" },
  }),
  one("Forwarded that is there stays", {
    path: "/echo",
    headers: { "X-Forwarded-For": "10.0.0.1", Forwarded: "for=1.2.3.4" },
  }),
  one("what Knative's own parts tell each other", {
    path: "/echo",
    headers: {
      "Knative-Serving-Revision": "r",
      "Knative-Serving-Namespace": "n",
      "K-Proxy-Request": "activator",
    },
  }),
  one("K-Original-Host becomes the host", {
    path: "/echo",
    headers: { "K-Original-Host": "original.example" },
  }),
  two("K-Original-Host over HTTP/2", {
    headers: { ":path": "/echo", "k-original-host": "original.example" },
  }),
  one("traces are passed on", {
    path: "/echo",
    headers: { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" },
  }),
];

const probes: readonly Exchange[] = [
  one("the activator's probe", {
    path: "/healthz",
    headers: { "User-Agent": "Knative-Activator-Probe", "K-Network-Probe": "queue" },
  }),
  one("the autoscaler's probe", {
    headers: { "User-Agent": "Knative-Autoscaling-Probe", "K-Network-Probe": "queue" },
  }),
  one("the kubelet's probe", {
    headers: { "User-Agent": "kube-probe/1.30", "K-Network-Probe": "queue" },
  }),
  one("HEAD of a probe", {
    method: "HEAD",
    headers: { "User-Agent": "kube-probe/1.30", "K-Network-Probe": "queue" },
  }),
  one("a probe without the header", { headers: { "User-Agent": "kube-probe/1.30" } }),
  one("a probe with another header", {
    headers: { "User-Agent": "kube-probe/1.30", "K-Network-Probe": "activator" },
  }),
  one("the header without the name", { path: "/echo", headers: { "K-Network-Probe": "queue" } }),
  one("a probe of the network", {
    headers: { "K-Network-Probe": "probe", "K-Network-Hash": "abc123" },
  }),
  one("a probe of the network without a hash", { headers: { "K-Network-Probe": "probe" } }),
  one("a probe for the user's container", {
    path: "/echo",
    headers: { "K-Kubelet-Probe": "true" },
  }),
  two("the activator's probe over HTTP/2", {
    headers: {
      ":path": "/healthz",
      "user-agent": "Knative-Activator-Probe",
      "k-network-probe": "queue",
    },
  }),
  two("a probe of the network over HTTP/2", {
    headers: { ":path": "/", "k-network-probe": "probe", "k-network-hash": "abc" },
  }),
];

const http2: readonly Exchange[] = [
  two("GET over HTTP/2", { headers: { ":path": "/echo?x=1" } }),
  two("HEAD over HTTP/2", { headers: { ":method": "HEAD", ":path": "/echo" } }),
  two("POST over HTTP/2", { headers: { ":method": "POST", ":path": "/echo" }, body: "hello" }),
  two("POST of 1 MiB over HTTP/2", {
    headers: { ":method": "POST", ":path": "/echo" },
    body: megabyte,
  }),
  two("an answer of 1 MiB over HTTP/2", { headers: { ":path": "/big?n=1048576" } }),
  two("status 204 over HTTP/2", { headers: { ":path": "/status?n=204" } }),
  two("status 503 over HTTP/2", { headers: { ":path": "/status?n=503" } }),
  two("trailers over HTTP/2", { headers: { ":path": "/trailers" } }),
  grpc("unary", "Unary"),
  grpc("unary of 600 KB", "Unary", { body: grpcMessage(Buffer.alloc(600_000, 3)) }),
  grpc("unary with metadata", "Unary", {
    headers: { "x-tenant": "gold", "x-data-bin": "AAEC", "grpc-timeout": "20S" },
  }),
  {
    ...grpc("an answer of trailers only", "Fails"),
    differs: {
      why: "Go's server adds content-length: 0, which no answer of gRPC has",
      ours: {
        status: 200,
        headers: {
          "content-type": "application/grpc",
          "grpc-message": "not%20here",
          "grpc-status": "5",
        },
        body: "",
        trailers: {},
        broken: undefined,
        informational: [],
      },
    },
  },
  grpc("a status behind a message", "FailsLate"),
  grpc("a stream of the server", "ServerStream"),
  grpc("a stream of both", "Bidi"),
];

const upgrades: readonly Exchange[] = [
  {
    name: "an upgrade, and bytes both ways",
    run: async ({ proxy }) => {
      const socket = await openSocket(proxy.port);
      socket.write(
        textOfRequest({ path: "/ws", headers: { Connection: "Upgrade", Upgrade: "echo" } }),
      );
      const answer = await readAnswer1(socket, "UPGRADE");
      socket.removeAllListeners("data");
      const said: string[] = [];
      socket.on("data", (part: Buffer) => {
        said.push(part.toString());
        socket.write(said.length === 1 ? "two" : "bye");
      });
      socket.write("one");
      await new Promise<void>((resolve) => socket.once("close", () => resolve()));
      return [comparable(answer), said];
    },
  },
  {
    name: "an upgrade that is not granted",
    run: async ({ proxy }) => {
      const socket = await openSocket(proxy.port);
      socket.write(
        textOfRequest({ path: "/no-upgrade", headers: { Connection: "Upgrade", Upgrade: "echo" } }),
      );
      return comparable(await readAnswer1(socket));
    },
  },
];

/** Without a limit, and without timeouts that matter. */
export const plainGroup: ExchangeGroup = {
  name: "without a limit",
  env: {},
  exchanges: [...http1, ...headers, ...probes, ...http2, ...upgrades],
};
