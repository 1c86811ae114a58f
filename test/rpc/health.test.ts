import { Code, ConnectError, createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import test, { type ExecutionContext } from "ava";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../gen/grpc/health/v1/health_pb.ts";
import { HealthRegistry } from "../../server/rpc/health-registry.ts";
import { registerHealthService } from "../../server/rpc/health-service.ts";
import { startHost } from "./start-host.ts";

async function start(t: ExecutionContext<unknown>) {
  const registry = new HealthRegistry();
  const { baseUrl } = await startHost(t, (router) => registerHealthService(router, registry));
  return { registry, client: createClient(Health, createGrpcTransport({ baseUrl })) };
}

test("Check gives the status, and NOT_FOUND for what is not known", async (t) => {
  const { registry, client } = await start(t);
  registry.set("", true);
  registry.set("iris", false);
  t.is((await client.check({})).status, Status.SERVING);
  t.is((await client.check({ service: "iris" })).status, Status.NOT_SERVING);
  const error = await t.throwsAsync(() => client.check({ service: "none" }), {
    instanceOf: ConnectError,
  });
  t.is(error.code, Code.NotFound);
  t.is(error.findDetails(ErrorInfoSchema)[0]?.reason, "SERVICE_UNKNOWN");
  t.regex(error.rawMessage, /"none"/);
});

test("List gives all", async (t) => {
  const { registry, client } = await start(t);
  registry.set("", true);
  registry.set("__proto__", false);
  const { statuses } = await client.list({});
  t.deepEqual(
    Object.entries(statuses).map(([name, { status }]) => [name, status]),
    [
      ["", Status.SERVING],
      ["__proto__", Status.NOT_SERVING],
    ],
  );
});

test("Watch begins with the status, follows changes, and ends with the server", async (t) => {
  const { registry, client } = await start(t);
  const seen: Status[] = [];
  // Each change follows the status before it, as one that is not read yet is skipped.
  const next: Record<number, () => void> = {
    1: () => registry.set("iris", false),
    2: () => registry.set("iris", true),
    3: () => registry.delete("iris"),
    4: () => registry.set("iris", true),
    5: () => registry.close(),
  };
  for await (const { status } of client.watch({ service: "iris" })) {
    seen.push(status);
    next[seen.length]?.();
  }
  t.deepEqual(seen, [
    Status.SERVICE_UNKNOWN,
    Status.NOT_SERVING,
    Status.SERVING,
    Status.SERVICE_UNKNOWN,
    Status.SERVING,
    Status.NOT_SERVING,
  ]);
  t.is(registry.watcherCount, 0);
});

test("a watch of what is not known ends with the server too", async (t) => {
  const { registry, client } = await start(t);
  const seen: Status[] = [];
  for await (const { status } of client.watch({ service: "none" })) {
    seen.push(status);
    registry.close();
  }
  t.deepEqual(seen, [Status.SERVICE_UNKNOWN]);
});

test("a watcher that leaves is forgotten", async (t) => {
  const { registry, client } = await start(t);
  registry.set("a", true);
  const abort = new AbortController();
  const left = Promise.withResolvers<void>();
  const watch = registry.watch.bind(registry);
  registry.watch = (service, watcher) => {
    const stop = watch(service, watcher);
    return () => {
      stop();
      left.resolve();
    };
  };
  await t.throwsAsync(async () => {
    for await (const _ of client.watch({ service: "a" }, { signal: abort.signal })) {
      t.is(registry.watcherCount, 1);
      abort.abort();
    }
  });
  await left.promise;
  t.is(registry.watcherCount, 0);
});

test("a watch above the limit is RESOURCE_EXHAUSTED, and names the limit", async (t) => {
  const { registry, client } = await start(t);
  for (let watcher = 0; watcher < 4096; watcher++) registry.watch("a", () => {});
  const error = await t.throwsAsync(() => Array.fromAsync(client.watch({ service: "a" })), {
    instanceOf: ConnectError,
  });
  t.is(error.code, Code.ResourceExhausted);
  t.regex(error.rawMessage, /4096/);
});

test("a closed registry stays as it is", (t) => {
  const registry = new HealthRegistry();
  registry.set("a", true);
  registry.close();
  registry.set("a", true);
  registry.set("b", true);
  registry.delete("a");
  t.deepEqual([...registry.entries()], [["a", Status.NOT_SERVING]]);
});

test("watchers hear of changes only", (t) => {
  const registry = new HealthRegistry();
  const heard: Status[] = [];
  const stop = registry.watch("a", (status) => heard.push(status));
  registry.set("a", true);
  registry.set("a", true);
  registry.set("b", true);
  registry.set("a", false);
  stop();
  stop();
  registry.set("a", true);
  t.deepEqual(heard, [Status.SERVING, Status.NOT_SERVING]);
  t.is(registry.watcherCount, 0);
});
