import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { call1, call2, openSocket } from "../../queue-proxy/http-calls.ts";
import { until } from "../../support/until.ts";
import { getText } from "./bounded-exchanges.ts";
import { comparable } from "./comparable.ts";
import type { Exchange, ExchangeGroup } from "./exchange.ts";

/** An error whose words are each proxy's own. */
function failure(name: string, path: string, method = "GET"): Exchange {
  return {
    name,
    run: async ({ proxy }) => {
      const answer = await call1(proxy.port, {
        path,
        method,
        ...(method === "POST" ? { body: "x" } : {}),
      });
      const { status, headers, body, broken } = answer;
      return { status, type: headers["content-type"], said: body.length > 0, broken };
    },
  };
}

const notHttp: Exchange[] = [
  ["a first line that is none", "hello\r\n\r\n"],
  [
    "a length and chunks",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
  ],
  [
    "two lengths",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
  ],
  ["no host", "GET / HTTP/1.1\r\n\r\n"],
  ["a blank before the colon", "GET / HTTP/1.1\r\nHost: h\r\nX-A : 1\r\n\r\n"],
  ["a coding that nobody knows", "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: zip\r\n\r\n"],
  ["a version that nobody speaks", "GET / HTTP/3.0\r\nHost: h\r\n\r\n"],
].map(([name = "", text = ""]) => ({
  name: `not HTTP: ${name}`,
  run: async ({ proxy }) => {
    const socket = await openSocket(proxy.port);
    socket.write(text);
    const said = await Promise.race([
      once(socket, "data").then(([part]) => (part as Buffer).toString("latin1").slice(0, 12)),
      once(socket, "close").then(() => "closed"),
    ]);
    socket.destroy();
    return said;
  },
}));

/** What the original takes, or answers otherwise. */
const stricter: Readonly<Record<string, { readonly why: string; readonly ours: unknown }>> = {
  "not HTTP: a length and chunks": {
    why: "two readers could read two requests (smuggling); the original takes the chunks",
    ours: "HTTP/1.1 400",
  },
};

export const faultGroup: ExchangeGroup = {
  name: "servers and callers that fail",
  env: {},
  exchanges: [
    failure("a server that closes without an answer", "/gone"),
    failure("a server that closes after a request with content", "/gone-after-body", "POST"),
    failure("a server that answers something else", "/garbage"),
    failure("a server that answers before the request has ended", "/answer-first", "POST"),
    {
      name: "an answer that ends before its length",
      run: async ({ proxy }) => comparable(await call1(proxy.port, { path: "/cut" })),
      differs: {
        why: "what came of the answer is passed on at once; the original had not sent it yet",
        ours: {
          status: 200,
          headers: { "content-length": "100", "content-type": "text/plain" },
          body: "only this",
          trailers: {},
          broken: "cut off",
          informational: [],
        },
      },
    },
    {
      name: "an answer in chunks that does not end",
      run: async ({ proxy }) => comparable(await call1(proxy.port, { path: "/cut-chunked" })),
    },
    {
      name: "a server that closes, over HTTP/2",
      run: async ({ proxy }) => {
        const { status, broken } = await call2(proxy.port, { headers: { ":path": "/gone" } });
        return { status, broken };
      },
    },
    {
      name: "a caller that goes is a caller that goes for the server too",
      run: async ({ proxy, user }) => {
        const before = user.left();
        const socket = await openSocket(proxy.port);
        socket.write("GET /hold HTTP/1.1\r\nHost: h\r\n\r\n");
        await until(() => user.holding() === 1);
        socket.destroy();
        await until(() => user.left() === before + 1);
        user.letGo();
        return user.left() - before;
      },
    },
    ...notHttp.map((exchange) => {
      const differs = stricter[exchange.name];
      return differs ? { ...exchange, differs } : exchange;
    }),
    {
      name: "a server that is not there",
      run: async ({ proxy, user }) => {
        await user.close();
        const { status, headers, body } = await call1(proxy.port, { path: "/" });
        return { status, type: headers["content-type"], said: body.length > 0 };
      },
    },
  ],
};

const health = { headers: { "User-Agent": "kube-probe/1.30", "K-Network-Probe": "queue" } };

/** Whether the pod is ready by a probe. */
export function readinessGroup(name: string, probe: object): ExchangeGroup {
  return {
    name,
    env: { SERVING_READINESS_PROBE: JSON.stringify(probe) },
    exchanges: [
      {
        name: `a pod with ${name}`,
        run: async ({ proxy }) => comparable(await call1(proxy.port, health)),
      },
    ],
  };
}

export const drainGroup: ExchangeGroup = {
  name: "a pod that ends",
  env: {},
  exchanges: [
    {
      name: "/wait-for-drain without a signal lets the pod serve on",
      run: async ({ proxy }) => {
        const waited = getText(proxy.adminPort, "/wait-for-drain");
        await until(async () => (await call1(proxy.port, health)).status === 503);
        const during = await call1(proxy.port, health);
        const { status } = await waited;
        return [comparable(during), status, comparable(await call1(proxy.port, health))];
      },
    },
    {
      name: "after SIGTERM probes fail, and calls are served",
      run: async ({ proxy }) => {
        proxy.signal("SIGTERM");
        await until(async () => (await call1(proxy.port, health)).status === 503);
        const probe = await call1(proxy.port, health);
        const reachable = await call1(proxy.port, {
          headers: { "K-Network-Probe": "probe", "K-Network-Hash": "a" },
        });
        const call = await call1(proxy.port, { path: "/echo" });
        const grpc = await call2(proxy.port, { headers: { ":path": "/echo" } });
        return [comparable(probe), comparable(reachable), comparable(call), comparable(grpc)];
      },
    },
    {
      name: "/wait-for-drain waits after SIGTERM",
      run: async ({ proxy }) => {
        const waited = getText(proxy.adminPort, "/wait-for-drain").then(() => "returned");
        return Promise.race([waited, wait(2_500).then(() => "waits")]);
      },
    },
    {
      name: "a second signal ends at once with 1",
      run: async ({ proxy }) => {
        proxy.signal("SIGTERM");
        return proxy.ended;
      },
    },
  ],
};
