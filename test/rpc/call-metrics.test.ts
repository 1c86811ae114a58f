import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import test, { type ExecutionContext } from "ava";
import { Registry } from "prom-client";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { CallMetrics } from "../../server/rpc/call-metrics.ts";
import { startHost } from "./start-host.ts";

async function start(
  t: ExecutionContext<unknown>,
  service: Partial<ServiceImpl<typeof GRPCInferenceService>>,
) {
  const registry = new Registry();
  const { baseUrl } = await startHost(
    t,
    (router) => router.service(GRPCInferenceService, service),
    { interceptors: [new CallMetrics(registry).interceptor()] },
  );
  const client = createClient(GRPCInferenceService, createGrpcTransport({ baseUrl }));
  /** Values of a metric by method, with the code where there is one. */
  const values = async (metric: string): Promise<Record<string, number>> => {
    const found = (await registry.getSingleMetric(metric)!.get()).values;
    return Object.fromEntries(
      found
        .filter((value) => !("metricName" in value) || String(value.metricName).endsWith("_count"))
        .map(({ labels, value }) => {
          const { grpc_type, grpc_service, grpc_method, grpc_code } = labels as Record<
            string,
            string
          >;
          return [
            [grpc_type, grpc_service, grpc_method, grpc_code].filter(Boolean).join(" "),
            value,
          ];
        }),
    );
  };
  return { client, values, registry };
}

const unary = "unary inference.GRPCInferenceService ModelInfer";
const bidi = "bidi_stream inference.GRPCInferenceService ModelStreamInfer";

test("unary calls are counted by the code that the caller gets", async (t) => {
  const { client, values } = await start(t, {
    modelInfer: ({ modelName }) => {
      if (modelName === "none") throw new TensorwireError("MODEL_NOT_FOUND", "none");
      if (modelName === "broken") throw new Error("broken");
      return {};
    },
  });
  await client.modelInfer({});
  await client.modelInfer({});
  await t.throwsAsync(() => client.modelInfer({ modelName: "none" }));
  await t.throwsAsync(() => client.modelInfer({ modelName: "broken" }));
  t.deepEqual(await values("grpc_server_started_total"), { [unary]: 4 });
  t.deepEqual(await values("grpc_server_handled_total"), {
    [`${unary} OK`]: 2,
    [`${unary} NotFound`]: 1,
    [`${unary} Internal`]: 1,
  });
  t.deepEqual(await values("grpc_server_handling_seconds"), { [unary]: 4 });
});

test("streams are counted when they end", async (t) => {
  const { client, values } = await start(t, {
    async *modelStreamInfer(requests) {
      for await (const { id } of requests) {
        if (id === "bad") throw new ConnectError("bad", Code.InvalidArgument);
        yield {};
      }
    },
  });
  const begun = Promise.withResolvers<void>();
  const release = Promise.withResolvers<void>();
  const open = Array.fromAsync(
    client.modelStreamInfer(
      (async function* () {
        yield {};
        begun.resolve();
        await release.promise;
      })(),
    ),
  );
  await begun.promise;
  await t.throwsAsync(() =>
    Array.fromAsync(
      client.modelStreamInfer(
        (async function* () {
          yield { id: "bad" };
        })(),
      ),
    ),
  );
  t.deepEqual(await values("grpc_server_handled_total"), { [`${bidi} InvalidArgument`]: 1 });
  release.resolve();
  await open;
  t.deepEqual(await values("grpc_server_handled_total"), {
    [`${bidi} InvalidArgument`]: 1,
    [`${bidi} OK`]: 1,
  });
  t.deepEqual(await values("grpc_server_started_total"), { [bidi]: 2 });
});
