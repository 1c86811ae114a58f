import { request } from "node:http";
import { fromBinary } from "@bufbuild/protobuf";
import { StatSchema } from "../../../gen/metrics/stat_pb.ts";
import { call1, call2, type SeenAnswer } from "../../queue-proxy/http-calls.ts";
import { grpcMessage } from "../../queue-proxy/start-user-server.ts";
import { until } from "../../support/until.ts";
import { comparable } from "./comparable.ts";
import type { Exchange, ExchangeGroup, Sides } from "./exchange.ts";

function grpcCall(method: string, headers: Readonly<Record<string, string>> = {}) {
  return {
    body: grpcMessage(Buffer.from("hello")),
    headers: {
      ":method": "POST",
      ":path": `/test.Service/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    },
  };
}

/** GET by node:http; rejects if the connection fails. */
export function getText(
  port: number,
  path: string,
): Promise<{ readonly status: number | undefined; readonly body: Buffer; readonly type: unknown }> {
  return new Promise((resolve, reject) => {
    const asked = request({ host: "127.0.0.1", port, path, agent: false }, async (response) => {
      const parts: Buffer[] = [];
      for await (const part of response) parts.push(part as Buffer);
      resolve({
        status: response.statusCode,
        body: Buffer.concat(parts),
        type: response.headers["content-type"],
      });
    });
    asked.on("error", reject);
    asked.end();
  });
}

async function stat(port: number) {
  const answer = await getText(port, "/metrics");
  return { ...answer, stat: fromBinary(StatSchema, answer.body) };
}

/** Fills the one place and the queue behind it; gives what the calls came to, once they may end. */
async function fill({ proxy, user }: Sides, waiting: number): Promise<() => Promise<unknown>> {
  // The last report may still be of the exchange before.
  await until(async () => (await stat(proxy.statisticsPort)).stat.averageConcurrentRequests < 0.5);
  user.takePeak();
  const calls: Promise<SeenAnswer>[] = [call1(proxy.port, { path: "/hold" })];
  await until(() => user.holding() === 1);
  for (let index = 0; index < waiting; index++) calls.push(call1(proxy.port, { path: "/hold" }));
  // Nobody tells when a call waits: the statistics of a whole second do.
  await until(async () => {
    const { stat: report } = await stat(proxy.statisticsPort);
    return report.averageConcurrentRequests > waiting + 0.99;
  });
  return async () => {
    let left = waiting + 1;
    const count = (answer: SeenAnswer): number | undefined => {
      left--;
      return answer.status;
    };
    const statuses = Promise.all(calls.map((call) => call.then(count)));
    await until(() => {
      user.letGo();
      return left === 0;
    });
    return { statuses: await statuses, peak: user.takePeak() };
  };
}

const overload: readonly Exchange[] = [
  {
    name: "one runs, ten wait, and the next is refused",
    run: async (sides) => {
      const finish = await fill(sides, 10);
      const refused = await call1(sides.proxy.port, { path: "/echo" });
      return [comparable(refused), await finish()];
    },
  },
  {
    name: "a refusal over HTTP/2",
    run: async (sides) => {
      const finish = await fill(sides, 10);
      const refused = await call2(sides.proxy.port, { headers: { ":path": "/echo" } });
      return [comparable(refused), await finish()];
    },
  },
  {
    name: "a refusal of gRPC",
    run: async (sides) => {
      const finish = await fill(sides, 10);
      const refused = await call2(sides.proxy.port, grpcCall("Unary"));
      await finish();
      const { status, headers } = refused;
      return { status, grpcStatus: headers["grpc-status"], type: headers["content-type"] };
    },
    differs: {
      why: "gRPC's clients get a status of gRPC, where the original leaves them to guess from 503",
      ours: { status: 200, grpcStatus: "8", type: "application/grpc" },
    },
  },
  {
    name: "probes of both kinds pass a full queue",
    run: async (sides) => {
      const finish = await fill(sides, 10);
      const { port } = sides.proxy;
      const health = await call1(port, {
        headers: { "User-Agent": "kube-probe/1.30", "K-Network-Probe": "queue" },
      });
      const kubelet = await call1(port, { path: "/echo", headers: { "K-Kubelet-Probe": "true" } });
      return [comparable(health), comparable(kubelet), await finish()];
    },
  },
  {
    name: "a caller that leaves the queue makes room",
    run: async (sides) => {
      const finish = await fill(sides, 9);
      const gone = new AbortController();
      const left = request({
        host: "127.0.0.1",
        port: sides.proxy.port,
        path: "/gone-from-queue",
        agent: false,
        signal: gone.signal,
      });
      left.on("error", () => {});
      left.end();
      await until(async () => {
        const { stat: report } = await stat(sides.proxy.statisticsPort);
        return report.averageConcurrentRequests > 10.99;
      });
      gone.abort();
      await until(async () => {
        const { stat: report } = await stat(sides.proxy.statisticsPort);
        return report.averageConcurrentRequests < 10.01;
      });
      const next = call1(sides.proxy.port, { path: "/echo" });
      const rest = await finish();
      return [comparable(await next), rest, sides.user.seen.get("/gone-from-queue")];
    },
  },
  {
    name: "statistics: concurrency of a whole second, and what came by the activator",
    run: async ({ proxy, user }) => {
      const calls = [0, 1, 2].map(() =>
        call1(proxy.port, { path: "/hold", headers: { "K-Proxy-Request": "activator" } }),
      );
      let report = (await stat(proxy.statisticsPort)).stat;
      await until(async () => {
        report = (await stat(proxy.statisticsPort)).stat;
        return Math.abs(report.averageProxiedConcurrentRequests - 3) < 0.01;
      });
      const { type } = await stat(proxy.statisticsPort);
      let left = calls.length;
      for (const call of calls) void call.then(() => left--);
      await until(() => {
        user.letGo();
        return left === 0;
      });
      return {
        type,
        pod: report.podName,
        concurrency: Math.round(report.averageConcurrentRequests * 10) / 10,
        proxied: Math.round(report.averageProxiedConcurrentRequests * 10) / 10,
        timeInMilliseconds: Math.abs(Number(report.timestamp) - Date.now()) < 600_000,
        uptime: report.processUptime > 0,
      };
    },
    differs: {
      why: "the field is documented as ms since 1970 and left out by the original",
      ours: {
        type: "application/protobuf",
        pod: "iris-00001-deployment-5f6c",
        concurrency: 3,
        proxied: 3,
        timeInMilliseconds: true,
        uptime: true,
      },
    },
  },
];

export const overloadGroup: ExchangeGroup = {
  name: "one at a time",
  env: { CONTAINER_CONCURRENCY: "1" },
  exchanges: overload,
};

function one(name: string, path: string): Exchange {
  return { name, run: async ({ proxy }) => comparable(await call1(proxy.port, { path })) };
}

function two(name: string, path: string): Exchange {
  return {
    name,
    run: async ({ proxy }) => comparable(await call2(proxy.port, { headers: { ":path": path } })),
  };
}

function grpcStatusOf({ status, headers, trailers, body, broken }: SeenAnswer) {
  const grpcStatus = headers["grpc-status"] ?? trailers["grpc-status"];
  return { status, grpcStatus, bytes: body.length, broken };
}

export const totalTimeoutGroup: ExchangeGroup = {
  name: "two seconds in all",
  env: { CONTAINER_CONCURRENCY: "1", REVISION_TIMEOUT_SECONDS: "2" },
  exchanges: [
    one("no answer in time", "/slow?n=8000"),
    two("no answer in time over HTTP/2", "/slow?n=8000"),
    one("an answer in pieces that is not whole in time", "/pieces?n=1500"),
    {
      name: "an answer with a length that is not whole in time",
      run: async ({ proxy }) => {
        const answer = await call1(proxy.port, { path: "/sized-pieces?n=1500" });
        return { status: answer.status, broken: answer.broken, begun: answer.body.slice(0, 8) };
      },
    },
    {
      name: "time in the queue counts",
      run: async ({ proxy, user }) => {
        const first = call1(proxy.port, { path: "/hold" });
        await until(() => user.holding() === 1);
        // Its turn comes when the first has run into the timeout; then little of its own time is left.
        const second = await call1(proxy.port, { path: "/slow?n=1500" });
        const answers = [comparable(await first), comparable(second)];
        await until(() => {
          user.letGo();
          return user.holding() === 0;
        });
        return answers;
      },
    },
    {
      name: "gRPC without an answer in time",
      run: async ({ proxy }) => grpcStatusOf(await call2(proxy.port, grpcCall("Slow?n=8000"))),
      differs: {
        why: "DEADLINE_EXCEEDED in place of 504, which clients take for UNAVAILABLE",
        ours: { status: 200, grpcStatus: "4", bytes: 0, broken: undefined },
      },
    },
    {
      name: "a stream of gRPC that carries data lives on",
      run: async ({ proxy }) =>
        grpcStatusOf(await call2(proxy.port, grpcCall("ServerStream?n=1200"))),
      differs: {
        why: "the original cuts streams after the revision's timeout, whatever they carry",
        ours: { status: 200, grpcStatus: "0", bytes: 3 * (5 + 8), broken: undefined },
      },
    },
  ],
};

export const startTimeoutGroup: ExchangeGroup = {
  name: "one second until the answer begins",
  env: { REVISION_RESPONSE_START_TIMEOUT_SECONDS: "1" },
  exchanges: [
    one("an answer that begins too late", "/slow?n=5000"),
    one("one that begins in time, and takes longer", "/pieces?n=700"),
    two("an answer that begins too late over HTTP/2", "/slow?n=5000"),
  ],
};

export const idleTimeoutGroup: ExchangeGroup = {
  name: "one second without a byte",
  env: { REVISION_IDLE_TIMEOUT_SECONDS: "1" },
  exchanges: [
    one("pieces that come in time", "/pieces?n=600"),
    one("pieces with too long a pause", "/pieces?n=2500"),
    one("no byte at all", "/slow?n=5000"),
  ],
};
