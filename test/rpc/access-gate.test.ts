import { once } from "node:events";
import type { OutgoingHttpHeaders } from "node:http2";
import { create, toBinary } from "@bufbuild/protobuf";
import test, { type ExecutionContext } from "ava";
import { Registry } from "prom-client";
import {
  GRPCInferenceService,
  ModelInferRequestSchema,
  RepositoryModelUnloadRequestSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { AccessControl, type VerifiedToken } from "../../server/access/access-control.ts";
import { parseAccessFile } from "../../server/access/access-file.ts";
import { createAccessKey, hashAccessKey } from "../../server/access/access-key.ts";
import { allModels } from "../../server/access/model-patterns.ts";
import { credentialsUnverifiable } from "../../server/errors/access-errors.ts";
import { createAccessGate } from "../../server/rpc/access-gate.ts";
import type { CallContext } from "../../server/rpc/call-context.ts";
import { CallMetrics } from "../../server/rpc/call-metrics.ts";
import { createConnectHost } from "../../server/rpc/connect-host.ts";
import { withControlAudit } from "../../server/rpc/control-audit.ts";
import { createDrainGate } from "../../server/rpc/drain-gate.ts";
import { createFastInference } from "../../server/rpc/fast-inference.ts";
import type { InferRequest } from "../../server/rpc/infer-messages.ts";
import type { InferenceBackend } from "../../server/rpc/inference-backend.ts";
import { registerInferenceService } from "../../server/rpc/inference-connect-service.ts";
import { withModelAccess } from "../../server/rpc/model-access.ts";
import { recordingLog } from "../support/silent-log.ts";
import { closed, openHttp2, request2, startWire } from "../wire/start-wire.ts";
import { envelope } from "./start-host.ts";

const key = createAccessKey();
const accessFile = `
- { name: app, sha256: "${hashAccessKey(key)}", permissions: [infer, control, read], models: ["iris*"] }
`;

/** A backend that answers everything, behind access control whose tokens a test decides on. */
async function start(t: ExecutionContext, { isFast }: { readonly isFast: boolean }) {
  const tokens: PromiseWithResolvers<VerifiedToken>[] = [];
  const calls: string[] = [];
  const registry = new Registry();
  const log = recordingLog();
  const access = new AccessControl({
    tokens: {
      verify() {
        const found = Promise.withResolvers<VerifiedToken>();
        tokens.push(found);
        return found.promise;
      },
    },
    registry,
    now: () => 0,
  });
  access.setTable(parseAccessFile(accessFile, "keys.yaml"));
  const own = {
    serverLive: async () => ({ live: true }),
    modelInfer: ({ modelName }: InferRequest, { principal }: CallContext) => {
      calls.push(`${principal?.name} ${modelName}`);
      return { modelName };
    },
    modelStreamInfer: async function* (requests: AsyncIterable<InferRequest>) {
      for await (const { modelName } of requests) yield { inferResponse: { modelName } };
    },
    modelStatistics: async () => ({ modelStats: [{ name: "iris" }, { name: "digits" }] }),
    repositoryIndex: async () => ({ models: [{ name: "digits" }, { name: "iris" }] }),
    repositoryModelUnload: async ({ modelName }: { modelName: string }) => ({ modelName }),
  } as unknown as InferenceBackend;
  const backend = withControlAudit(withModelAccess(own, access), log);
  const accessGate = createAccessGate({ access, metrics: "open", log, audit: log });
  const onInternalError = (error: Error): void => t.log(error);
  const common = { maxMessageBytes: 2 ** 20, maxTimeoutMs: 3_600_000, onInternalError };
  const handler = createConnectHost({
    ...common,
    routes: (router) => registerInferenceService(router, backend),
    interceptors: [],
    fallback: async () => ({ status: 404 }),
  });
  const fast = createFastInference({
    ...common,
    backend,
    access: accessGate,
    gate: createDrainGate(),
    metrics: new CallMetrics(registry),
  });
  const { port, wire } = await startWire(t, accessGate.wrap(handler), isFast ? { fast } : {});
  return { session: openHttp2(t, port), wire, tokens, calls, log };
}

const path = (method: string): string => `/${GRPCInferenceService.typeName}/${method}`;

function grpc(method: string, fields: OutgoingHttpHeaders = {}): OutgoingHttpHeaders {
  return {
    ":method": "POST",
    ":path": path(method),
    "content-type": "application/grpc",
    te: "trailers",
    ...fields,
  };
}

const withKey = { authorization: `Bearer ${key}` };
const withToken = { authorization: "Bearer a.b.c" };
const infer = (modelName: string): Buffer =>
  envelope(toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, { modelName })));

const alice: VerifiedToken = {
  principal: {
    name: "alice",
    credential: "token",
    permissions: new Set(["infer"]),
    models: allModels,
  },
  validUntil: 1,
};

function statusOf(answer: Awaited<ReturnType<typeof request2>>): string {
  const { headers, trailers } = answer;
  return String((trailers ?? headers)["grpc-status"]);
}

for (const isFast of [true, false]) {
  const how = isFast ? "from bytes to bytes" : "through Connect";

  test(`${how}, a call without credentials is answered before its message comes`, async (t) => {
    const { session, calls } = await start(t, { isFast });
    // The message never comes.
    const stream = session.request(grpc("ModelInfer"), { endStream: false });
    const [fields] = await once(stream, "response");
    t.is(fields["grpc-status"], "16");
    t.regex(decodeURIComponent(String(fields["grpc-message"])), /the call has no credentials/);
    stream.close();
    await closed(stream);
    t.deepEqual(calls, []);
  });

  test(`${how}, the model is checked when the message is known`, async (t) => {
    const { session, calls } = await start(t, { isFast });
    const ask = async (model: string): Promise<string> =>
      statusOf(await request2(session, grpc("ModelInfer", withKey), infer(model)));
    t.is(await ask("iris"), "0");
    t.is(await ask("digits"), "7");
    t.deepEqual(calls, ["app iris"]);
  });

  test(`${how}, a call waits while its token is checked`, async (t) => {
    const { session, tokens, calls } = await start(t, { isFast });
    const good = request2(session, grpc("ModelInfer", withToken), infer("iris"));
    await session.ping(() => {});
    while (tokens.length === 0) await new Promise(setImmediate);
    t.deepEqual(calls, []);
    tokens[0]?.resolve(alice);
    t.is(statusOf(await good), "0");
    t.deepEqual(calls, ["alice iris"]);
    const other = { authorization: "Bearer d.e.f" };
    const away = request2(session, grpc("ModelInfer", other), infer("iris"));
    while (tokens.length === 1) await new Promise(setImmediate);
    tokens[1]?.reject(credentialsUnverifiable(new Error("away")));
    t.is(statusOf(await away), "14");
    t.is(calls.length, 1);
  });

  test(`${how}, a deadline holds while a token is checked, and the call is not made then`, async (t) => {
    const { session, tokens, calls, wire } = await start(t, { isFast });
    const late = await request2(
      session,
      grpc("ModelInfer", { ...withToken, "grpc-timeout": "50m" }),
      infer("iris"),
    ).catch(() => undefined);
    t.is(late && statusOf(late), "4");
    tokens[0]?.resolve(alice);
    // Another call on the connection comes after whatever the first one still did.
    t.is(statusOf(await request2(session, grpc("ModelInfer", withKey), infer("iris"))), "0");
    t.deepEqual(calls, ["app iris"]);
    t.is(wire.stats.openStreams, 0);
  });

  test(`${how}, a caller may leave while its token is checked`, async (t) => {
    const { session, tokens, calls } = await start(t, { isFast });
    const stream = session.request(grpc("ModelInfer", withToken), { endStream: false });
    stream.on("error", () => {});
    stream.end(infer("iris"));
    while (tokens.length === 0) await new Promise(setImmediate);
    stream.close(8);
    await closed(stream);
    t.is(statusOf(await request2(session, grpc("ModelInfer", withKey), infer("iris-2"))), "0");
    tokens[0]?.resolve(alice);
    t.is(statusOf(await request2(session, grpc("ModelInfer", withKey), infer("iris-3"))), "0");
    t.deepEqual(
      calls.filter((call) => call.startsWith("alice")),
      [],
    );
  });

  test(`${how}, control leaves a line in the audit log, made or refused, and no credentials`, async (t) => {
    const { session, log } = await start(t, { isFast });
    const unload = (modelName: string, fields: OutgoingHttpHeaders) => {
      const message = create(RepositoryModelUnloadRequestSchema, {
        modelName,
        parameters: {
          unload_dependents: {
            parameterChoice: { case: "boolParam", value: modelName === "iris-all" },
          },
        },
      });
      const bytes = envelope(toBinary(RepositoryModelUnloadRequestSchema, message));
      return request2(session, grpc("RepositoryModelUnload", fields), bytes);
    };
    t.is(statusOf(await unload("iris", withKey)), "0");
    t.is(statusOf(await unload("digits", withKey)), "7");
    t.is(statusOf(await unload("iris-all", withKey)), "7");
    t.is(statusOf(await unload("iris", {})), "16");
    t.is(statusOf(await unload("iris", { authorization: "Bearer tw_wrong" })), "16");
    const call = { audit: "control", call: "RepositoryModelUnload", peer: "127.0.0.1" };
    const app = { principal: "app", credential: "key" };
    const nobody = { model: null, principal: null, credential: null };
    t.deepEqual(log.entries, [
      {
        level: "info",
        message: "control call",
        fields: { ...call, ...app, model: "iris", outcome: "OK" },
      },
      ...["digits", "iris-all"].map((model) => ({
        level: "warn",
        message: "control call",
        fields: { ...call, ...app, model, outcome: "MODEL_FORBIDDEN" },
      })),
      ...["CREDENTIALS_MISSING", "CREDENTIALS_INVALID"].map((outcome) => ({
        level: "warn",
        message: "control call",
        fields: { ...call, ...nobody, outcome },
      })),
    ]);
  });

  test(`${how}, lists are cut to the models of the caller`, async (t) => {
    const { session } = await start(t, { isFast });
    for (const method of ["RepositoryIndex", "ModelStatistics"]) {
      const answer = await request2(session, grpc(method, withKey), envelope(new Uint8Array(0)));
      t.is(statusOf(answer), "0");
      t.true(answer.body.includes("iris"));
      t.false(answer.body.includes("digits"));
    }
  });

  test(`${how}, liveness needs no credentials and does not look at those that are bad`, async (t) => {
    const { session } = await start(t, { isFast });
    const live = grpc("ServerLive", { authorization: "Bearer tw_wrong" });
    t.is(statusOf(await request2(session, live, envelope(new Uint8Array(0)))), "0");
  });
}

test("a request for another's model ends a stream with its status, after the answers before it were sent", async (t) => {
  const { session } = await start(t, { isFast: true });
  const stream = session.request(grpc("ModelStreamInfer", withKey), { endStream: false });
  stream.write(infer("iris"));
  const [first] = (await once(stream, "data")) as [Buffer];
  t.true(first.includes("iris"));
  stream.write(infer("digits"));
  const [trailers] = await once(stream, "trailers");
  t.is(trailers["grpc-status"], "7");
  stream.close();
});
