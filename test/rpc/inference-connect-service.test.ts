import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import test from "ava";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import type { CallContext } from "../../server/rpc/call-context.ts";
import type { InferenceBackend } from "../../server/rpc/inference-backend.ts";
import { registerInferenceService } from "../../server/rpc/inference-connect-service.ts";
import { startHost } from "./start-host.ts";

test("every method reaches the backend with its context", async (t) => {
  const calls: [string, CallContext][] = [];
  const methods = GRPCInferenceService.methods.filter(({ methodKind }) => methodKind === "unary");
  const backend = Object.fromEntries(
    GRPCInferenceService.methods.map(({ localName, methodKind }) => [
      localName,
      methodKind === "unary"
        ? async (_request: unknown, context: CallContext) => {
            calls.push([localName, context]);
            return {};
          }
        : async function* (requests: AsyncIterable<unknown>, context: CallContext) {
            calls.push([localName, context]);
            for await (const _ of requests) yield {};
          },
    ]),
  ) as unknown as InferenceBackend;
  const { baseUrl } = await startHost(t, (router) => registerInferenceService(router, backend));
  const client = createClient(GRPCInferenceService, createGrpcTransport({ baseUrl }));
  const options = { headers: { "x-request-id": "7" } };
  for (const { localName } of methods) {
    const call = client[localName as "serverLive"];
    await call({}, options);
  }
  const requests = (async function* () {
    yield {};
    yield {};
  })();
  t.is((await Array.fromAsync(client.modelStreamInfer(requests, options))).length, 2);
  t.deepEqual(
    calls.map(([name]) => name).sort(),
    GRPCInferenceService.methods.map(({ localName }) => localName).sort(),
  );
  for (const [name, { peer, requestHeader, signal }] of calls) {
    t.deepEqual(peer, { address: "127.0.0.1", local: true }, name);
    t.is(requestHeader.get("x-request-id"), "7", name);
    t.true(signal instanceof AbortSignal, name);
  }
});
