import { once } from "node:events";
import { request } from "node:http";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { create, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient } from "@connectrpc/connect";
import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import { status } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import {
  GRPCInferenceService,
  ModelInferRequestSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { fromUnknown } from "../../server/errors/from-unknown.ts";
import { createConnectHost } from "../../server/rpc/connect-host.ts";
import { readBody } from "../../server/rpc/rest/read-body.ts";
import { errorResponse } from "../../server/rpc/rest/rest-error.ts";
import { createWireTransport } from "../../server/wire/client/wire-transport.ts";
import { MemoryBudget } from "../../server/wire/request-memory.ts";
import { until } from "../support/until.ts";
import { openChannel } from "../wire/client/start-peers.ts";
import { openHttp2, request2, startWire } from "../wire/start-wire.ts";
import { envelope } from "./start-host.ts";

const mebibyte = 1024 * 1024;
const path = "/inference.GRPCInferenceService/ModelInfer";

/** Serves a model that does not answer until it is let go, with so much memory for requests. */
async function start(t: ExecutionContext, bytes: number, ofConnection = 100 * mebibyte) {
  const memory = new MemoryBudget(bytes);
  const go = Promise.withResolvers<void>();
  let running = 0;
  const handler: UniversalHandlerFn = createConnectHost({
    routes: (router) =>
      router.service(GRPCInferenceService, {
        async modelInfer({ id }) {
          running++;
          await go.promise;
          return { id };
        },
        async *modelStreamInfer(requests) {
          for await (const { id } of requests) yield { inferResponse: { id } };
        },
      }),
    maxMessageBytes: 4 * mebibyte,
    maxTimeoutMs: 60_000,
    interceptors: [],
    onInternalError: (error) => t.fail(error.message),
    async fallback(received) {
      try {
        const body = await readBody(received, 4 * mebibyte);
        running++;
        await go.promise;
        return { status: 200, header: new Headers({ "x-bytes": `${body.byteLength}` }) };
      } catch (error) {
        return errorResponse(fromUnknown(error), "/v2");
      }
    },
  });
  const { port, wire } = await startWire(t, handler, {
    memory,
    limits: { maxConnectionBytes: ofConnection },
  });
  return { port, wire, memory, go: go.resolve, running: () => running };
}

const headers = (more: Readonly<Record<string, string>> = {}) => ({
  ":method": "POST",
  ":path": path,
  "content-type": "application/grpc",
  te: "trailers",
  ...more,
});

/** A message of about a mebibyte that shrinks to nothing. */
const message = toBinary(
  ModelInferRequestSchema,
  create(ModelInferRequestSchema, { rawInputContents: [new Uint8Array(mebibyte)] }),
);

for (const [encoding, compress] of [
  ["gzip", gzipSync],
  ["zstd", zstdCompressSync],
] as const) {
  test(`messages in ${encoding} count as what they become, until they are answered`, async (t) => {
    const { port, memory, go, running, wire } = await start(t, 3.5 * mebibyte);
    const session = openHttp2(t, port);
    const call = () =>
      request2(session, headers({ "grpc-encoding": encoding }), envelope(compress(message), 1));
    const calls = [call(), call(), call()];
    await until(() => running() === 3);
    t.true(memory.heldBytes > 3 * mebibyte && memory.heldBytes < 3.1 * mebibyte);
    const refused = await call();
    t.is(
      Number(refused.headers["grpc-status"] ?? refused.trailers?.["grpc-status"]),
      status.UNAVAILABLE,
    );
    t.is(wire.stats.refusals["server-memory"], 1);
    go();
    for (const { trailers } of await Promise.all(calls)) t.is(trailers?.["grpc-status"], "0");
    t.is(memory.heldBytes, 0);
  });
}

test("uploads of Connect and REST that are left incomplete are bounded on one connection", async (t) => {
  const { port, memory, wire } = await start(t, 100 * mebibyte, 3 * mebibyte);
  const session = openHttp2(t, port);
  const upload = (index: number) => {
    const stream = session.request(
      index % 2 === 0
        ? { ":method": "POST", ":path": path, "content-type": "application/proto" }
        : { ":method": "POST", ":path": "/v2/models/m/infer", "content-type": "application/json" },
    );
    stream.on("error", () => {});
    stream.write(Buffer.alloc(mebibyte));
    return stream;
  };
  for (let index = 0; index < 3; index++) {
    upload(index);
    await until(() => memory.heldBytes === (index + 1) * mebibyte);
  }
  for (let index = 3; index < 8; index++) {
    const [fields] = (await once(upload(index), "response")) as [Record<string, unknown>];
    t.is(fields[":status"], 429);
    t.true(memory.heldBytes <= 3 * mebibyte);
  }
  t.is(wire.stats.refusals.memory, 5);
  session.destroy();
  await until(
    () => memory.heldBytes === 0,
    () => `${memory.heldBytes} bytes are held`,
  );
});

test("bodies of HTTP/1.1 count together, until their handlers end, though the peers are gone", async (t) => {
  const { port, memory, running, go } = await start(t, 2.5 * mebibyte);
  const send = (bytes: number) => {
    const sent = request({ port, host: "127.0.0.1", method: "POST", path: "/v2/models/m/infer" });
    sent.on("error", () => {});
    sent.end(Buffer.alloc(bytes));
    return sent;
  };
  const first = send(mebibyte);
  const second = send(mebibyte);
  await until(() => running() === 2);
  const [{ statusCode }] = (await once(send(mebibyte), "response")) as [{ statusCode: number }];
  t.is(statusCode, 503);
  first.destroy();
  second.destroy();
  t.is(memory.heldBytes, 2 * mebibyte);
  go();
  await until(() => memory.heldBytes === 0);
});

test("of a stream one message is held at a time", async (t) => {
  const { port, memory } = await start(t, 1.5 * mebibyte);
  const channel = openChannel(t, port);
  for (const protocol of ["grpc", "grpc-web", "connect"] as const) {
    const client = createClient(GRPCInferenceService, createWireTransport({ channel, protocol }));
    const requests = async function* () {
      for (let n = 0; n < 10; n++)
        yield { id: `${n}`, rawInputContents: [new Uint8Array(mebibyte)] };
    };
    const ids: (string | undefined)[] = [];
    for await (const { inferResponse } of client.modelStreamInfer(requests()))
      ids.push(inferResponse?.id);
    t.is(ids.length, 10, protocol);
  }
  await until(() => memory.heldBytes === 0);
  const large = createClient(
    GRPCInferenceService,
    createWireTransport({ channel, protocol: "grpc" }),
  );
  const error = await t.throwsAsync(
    large.modelInfer({ rawInputContents: [new Uint8Array(2 * mebibyte)] }),
    { instanceOf: ConnectError },
  );
  t.is(error.code, Code.Unavailable);
  await until(() => memory.heldBytes === 0);
});
