import { readFile, writeFile } from "node:fs/promises";
import { request as requestHttps } from "node:https";
import { join } from "node:path";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import type { ServiceError } from "@grpc/grpc-js";
import { status as grpcStatus } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import { CallState, QueueService } from "../../gen/tensorwire/queue/v1/queue_pb.ts";
import { startCommand } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { until } from "../support/until.ts";
import { grpcCaller } from "./grpc-calls.ts";
import { call1, type SeenAnswer } from "./http-calls.ts";
import { knativeEnvironment, type ProxyEnvironment, startQueueProxy } from "./start-queue-proxy.ts";
import { startUserServer } from "./start-user-server.ts";

async function startBoth(
  t: ExecutionContext,
  env: ProxyEnvironment = {},
  flags: readonly string[] = [],
) {
  const user = await startUserServer(t);
  const proxy = await startQueueProxy(t, user.port, env, flags);
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${proxy.adminPort}` });
  return { user, proxy, admin: createClient(QueueService, transport) };
}

type Both = Awaited<ReturnType<typeof startBoth>>;

/** Waits until so many calls run and wait. */
async function untilQueue({ admin }: Both, running: number, waiting: number): Promise<void> {
  let seen = "";
  await until(
    async () => {
      const queue = await admin.getQueue({});
      seen = `${queue.running} run, ${queue.waiting} wait`;
      return queue.running === running && queue.waiting === waiting;
    },
    () => seen,
  );
}

/** Lets held calls go until all are answered. */
async function finish({ user }: Both, calls: readonly Promise<unknown>[]): Promise<void> {
  let left = calls.length;
  for (const call of calls) {
    const over = (): void => {
      left--;
    };
    call.then(over, over);
  }
  await until(() => {
    user.letGo();
    return left === 0;
  });
}

const levels = `
classes:
  - { name: urgent, level: 0 }
  - { name: batch, level: 1, rate: 1000, burst: 3 }
callers:
  - { header: x-class, value: urgent, class: urgent }
tenant: { header: x-tenant }
default: batch
`;

test.serial("rules decide who goes first, and the admin service shows it", async (t) => {
  const folder = await temporaryFolder(t, { "rules.yaml": levels });
  const both = await startBoth(t, { CONTAINER_CONCURRENCY: "1" }, [
    "--rules",
    join(folder, "rules.yaml"),
  ]);
  const { proxy, admin } = both;
  const order: string[] = [];
  const call = (name: string, headers: Readonly<Record<string, string>>): Promise<void> =>
    call1(proxy.port, { path: "/hold", headers }).then(() => {
      order.push(name);
    });
  const calls = [call("first", { "x-tenant": "a" })];
  await untilQueue(both, 1, 0);
  calls.push(call("batch", { "x-tenant": "b" }));
  await untilQueue(both, 1, 1);
  calls.push(call("urgent", { "x-class": "urgent" }));
  await untilQueue(both, 1, 2);

  const queue = await admin.getQueue({});
  t.is(queue.limits?.concurrency, 1);
  t.is(queue.limits?.waiting, 10);
  t.deepEqual(
    queue.classes.map(({ name, level, running, waiting, tenants }) => [
      name,
      level,
      running,
      waiting,
      tenants.map((tenant) => tenant.name).sort(),
    ]),
    [
      ["urgent", 0, 0, 1, [""]],
      ["batch", 1, 1, 1, ["a", "b"]],
    ],
  );
  const listed = await admin.listCalls({});
  t.is(listed.total, 3);
  t.deepEqual(
    listed.calls.map(({ path, className, state }) => [path, className, state]),
    [
      ["/hold", "batch", CallState.RUNNING],
      ["/hold", "batch", CallState.WAITING],
      ["/hold", "urgent", CallState.WAITING],
    ],
  );
  await finish(both, calls);
  t.deepEqual(order, ["first", "urgent", "batch"]);
});

test.serial("a burst above the rate: 429 with Retry-After, and RESOURCE_EXHAUSTED", async (t) => {
  const folder = await temporaryFolder(t, {
    "rules.yaml": "classes: [{ name: default, rate: 0.01, burst: 2 }]",
  });
  const { proxy } = await startBoth(t, {}, ["--rules", join(folder, "rules.yaml")]);
  t.is((await call1(proxy.port, { path: "/echo" })).status, 200);
  t.is((await call1(proxy.port, { path: "/echo" })).status, 200);
  const refused = await call1(proxy.port, { path: "/echo" });
  t.is(refused.status, 429);
  t.true(Number(refused.headers["retry-after"]) > 50);
  const error = await t.throwsAsync<ServiceError>(grpcCaller(t, proxy.port).call("Unary", "x"));
  t.is(error?.code, grpcStatus.RESOURCE_EXHAUSTED);
});

test.serial("a file of rules that changes is taken", async (t) => {
  const folder = await temporaryFolder(t, { "rules.yaml": "limits: { concurrency: 3 }" });
  const path = join(folder, "rules.yaml");
  const { admin, proxy } = await startBoth(t, {}, ["--rules", path]);
  t.is((await admin.getQueue({})).limits?.concurrency, 3);
  await writeFile(path, "limits: { concurrency: 5 }\nclasses: [{ name: new, level: 2 }]");
  await until(async () => (await admin.getQueue({})).limits?.concurrency === 5);
  await writeFile(path, "limits: { concurrency: none }");
  await until(() => proxy.stderr().includes("limits.concurrency"));
  const queue = await admin.getQueue({});
  t.is(queue.limits?.concurrency, 5);
  t.true(queue.classes.some(({ name }) => name === "new"));
});

test.serial("limits change while calls wait", async (t) => {
  const both = await startBoth(t, { CONTAINER_CONCURRENCY: "1" });
  const { admin, proxy } = both;
  const calls = [0, 1].map(() => call1(proxy.port, { path: "/hold" }));
  await untilQueue(both, 1, 1);
  const { limits } = await admin.updateLimits({ limits: { concurrency: 2 } });
  t.is(limits?.concurrency, 2);
  await untilQueue(both, 2, 0);
  await finish(both, calls);
  await t.throwsAsync(admin.updateClass({ name: "nobody" }), {
    message: /there is no class "nobody"; classes are default/,
  });
  await t.throwsAsync(admin.updateClass({ name: "default", limits: { weight: 0 } }), {
    message: /weight is 0, expected a number above 0/,
  });
});

test.serial("gRPC is told RESOURCE_EXHAUSTED with RetryInfo and a pushback", async (t) => {
  const both = await startBoth(t, { CONTAINER_CONCURRENCY: "1" }, ["--queue-depth", "1"]);
  const { proxy } = both;
  const calls = [call1(proxy.port, { path: "/hold" })];
  await untilQueue(both, 1, 0);
  calls.push(call1(proxy.port, { path: "/hold" }));
  await untilQueue(both, 1, 1);
  const error = await t.throwsAsync<ServiceError>(grpcCaller(t, proxy.port).call("Unary", "x"));
  t.is(error?.code, grpcStatus.RESOURCE_EXHAUSTED);
  const pushback = Number(error?.metadata.get("grpc-retry-pushback-ms")[0]);
  t.true(pushback >= 50 && pushback <= 10_000);
  // Whatever the service is: Connect's client reads the details.
  const transport = createGrpcTransport({ baseUrl: `http://127.0.0.1:${proxy.port}` });
  const refused = await t.throwsAsync(createClient(QueueService, transport).getQueue({}), {
    instanceOf: ConnectError,
  });
  const [info] = refused!.findDetails(RetryInfoSchema);
  const { seconds, nanos } = info!.retryDelay!;
  t.is(
    Number(seconds) * 1000 + nanos / 1e6,
    Number(refused!.metadata.get("grpc-retry-pushback-ms")),
  );
  await finish(both, calls);
});

test.serial("a call whose deadline passes in the queue does not reach the server", async (t) => {
  const both = await startBoth(t, { CONTAINER_CONCURRENCY: "1" });
  const { proxy, user } = both;
  const held = call1(proxy.port, { path: "/hold" });
  await untilQueue(both, 1, 0);
  const error = await t.throwsAsync<ServiceError>(
    grpcCaller(t, proxy.port).call("Unary", "x", {}, { deadline: Date.now() + 300 }),
  );
  t.is(error?.code, grpcStatus.DEADLINE_EXCEEDED);
  await untilQueue(both, 1, 0);
  await finish(both, [held]);
  t.is(user.seen.get("/test.Service/Unary"), undefined);
});

test.serial("the last second for the autoscaler, and metrics for Prometheus", async (t) => {
  const both = await startBoth(t, { CONTAINER_CONCURRENCY: "5" });
  const { proxy } = both;
  t.is((await call1(proxy.port, { path: "/status?n=404" })).status, 404);
  const grpc = grpcCaller(t, proxy.port);
  t.is(await grpc.call("Unary", "hello"), "hello");
  await t.throwsAsync(grpc.call("Fails", "x"));
  const { body } = await call1(proxy.metricsPort, { path: "/metrics" });
  const line = (name: string): string | undefined =>
    body.split("\n").find((one) => one.startsWith(name));
  t.is(
    line('kn_serving_invocation_duration_seconds_count{http_response_status_code="404"}'),
    'kn_serving_invocation_duration_seconds_count{http_response_status_code="404"} 1',
  );
  // A call that failed in gRPC has status 200 in HTTP.
  t.truthy(
    line('tensorwire_queue_call_seconds_count{class="default",protocol="grpc",code="NOT_FOUND"} 1'),
  );
  t.truthy(
    line('tensorwire_queue_call_seconds_count{class="default",protocol="grpc",code="OK"} 1'),
  );
  t.truthy(line("tensorwire_queue_capacity 5"));
  const stat = await call1(proxy.statisticsPort, { path: "/metrics" });
  t.is(stat.headers["content-type"], "application/protobuf");
  t.true(stat.body.length <= 336);
});

test.serial("the request log has the lines of its template", async (t) => {
  const template =
    '{"method": "{{.Request.Method}}", "url": "{{js .Request.RequestURI}}", "code": {{.Response.Code}}, "size": {{.Response.Size}}, "revision": "{{.Revision.Name}}", "trace": "{{index .Request.Header "X-B3-Traceid"}}"}';
  const { proxy } = await startBoth(t, {
    OBSERVABILITY_CONFIG: JSON.stringify({ enableRequestLog: true, requestLogTemplate: template }),
  });
  await call1(proxy.port, { path: '/status?n=404&x="', headers: { "X-B3-Traceid": "abc" } });
  await until(() => proxy.stdout().includes("\n"));
  t.is(
    proxy.stdout(),
    '{"method": "GET", "url": "/status?n\\u003D404\\u0026x\\u003D\\"", "code": 404, "size": 6, "revision": "iris-00001", "trace": "[abc]"}\n',
  );
});

test.serial("TLS with the certificate of the pod", async (t) => {
  const certificates = new URL("../clients/typescript/certificates/", import.meta.url);
  const pem = (name: string): Promise<Buffer> => readFile(new URL(name, certificates));
  const folder = await temporaryFolder(t, {
    "tls.crt": await pem("server.pem"),
    "tls.key": await pem("server.key"),
  });
  const { proxy } = await startBoth(t, {}, ["--tls-folder", folder]);
  const ready = proxy
    .stderr()
    .split("\n")
    .find((line) => line.includes('"msg":"ready"'))!;
  const { ports } = JSON.parse(ready) as { ports: { tls: number } };
  const status = await new Promise((resolve, reject) => {
    const asked = requestHttps(
      {
        host: "127.0.0.1",
        port: ports.tls,
        path: "/echo",
        rejectUnauthorized: false,
        agent: false,
      },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    asked.on("error", reject);
    asked.end();
  });
  t.is(status, 200);
});

test.serial("what is missing in the environment is named", async (t) => {
  const { CONTAINER_CONCURRENCY: _, ...rest } = knativeEnvironment(1, { USER_PORT: "" });
  const command = startCommand(t, ["queue-proxy"], rest);
  t.is(await command.ended, 2);
  t.regex(command.stderr(), /CONTAINER_CONCURRENCY is missing/);
  t.regex(command.stderr(), /USER_PORT is empty/);
});

test.serial("exec is refused by name", async (t) => {
  const env = knativeEnvironment(1, {
    SERVING_READINESS_PROBE: JSON.stringify({ exec: { command: ["true"] } }),
  });
  const command = startCommand(t, ["queue-proxy"], env);
  t.is(await command.ended, 2);
  t.regex(command.stderr(), /SERVING_READINESS_PROBE has exec/);
});

test.serial(
  "ten times what may run: the server works on four at once, and for nobody in vain",
  async (t) => {
    const { proxy, user } = await startBoth(t, { CONTAINER_CONCURRENCY: "4" }, [
      "--busy-poll",
      "1ms",
    ]);
    user.takePeak();
    const counts = { answered: 0, refused: 0, other: 0 };
    // 400 callers for 4 places and a queue of 40.
    const callers = Array.from({ length: 400 }, async () => {
      for (let count = 0; count < 5; count++) {
        const { status, body } = await call1(proxy.port, { path: "/slow?n=5" });
        if (status === 200 && body === "slow") counts.answered++;
        else if (status === 503 && body === "pending request queue full\n") counts.refused++;
        else counts.other++;
      }
    });
    await Promise.all(callers);
    t.is(counts.other, 0);
    t.is(counts.answered + counts.refused, 2000);
    t.true(counts.answered >= 44 && counts.refused > 0, JSON.stringify(counts));
    t.true(user.takePeak() <= 4);
    // What the server has done was all waited for.
    t.is(user.seen.get("/slow"), counts.answered);
    t.is(user.left(), 0);
  },
);

test.serial("rolling restarts under load lose no call", async (t) => {
  const user = await startUserServer(t);
  const start = () =>
    startQueueProxy(t, user.port, { CONTAINER_CONCURRENCY: "8" }, ["--quiet-period", "100ms"]);
  let current = await start();
  let caller = grpcCaller(t, current.port);
  const ended: Promise<number | null>[] = [];
  const counts = { calls: 0, failed: 0 };
  const wrong: unknown[] = [];
  const perRestart = 2000;
  const restarts = 5;
  for (let restart = 0; restart < restarts; restart++) {
    const next = start();
    let left = perRestart;
    // Half of the calls are made by each protocol; the new pod takes over while they run.
    const loop = async (): Promise<void> => {
      while (left > 0) {
        left--;
        counts.calls++;
        const good =
          left % 2 === 0
            ? await caller.call("Unary", "x").then((answer) => answer === "x", String)
            : await call1(current.port, { path: "/echo" }).then(whole, String);
        if (good !== true) {
          counts.failed++;
          wrong.push(good);
        }
      }
    };
    const loops = Array.from({ length: 16 }, loop);
    const fresh = await next;
    const old = current;
    current = fresh;
    caller = grpcCaller(t, fresh.port);
    old.signal("SIGTERM");
    ended.push(old.ended);
    await Promise.all(loops);
  }
  t.deepEqual(
    counts,
    { calls: perRestart * restarts, failed: 0 },
    JSON.stringify(wrong.slice(0, 3)),
  );
  t.deepEqual(await Promise.all(ended), [0, 0, 0, 0, 0]);
  t.true(user.takePeak() <= 16);
});

function whole({ status, broken }: SeenAnswer): boolean | string {
  return status === 200 && broken === undefined ? true : `${status} ${broken}`;
}
