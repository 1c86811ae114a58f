import { once } from "node:events";
import type { ClientHttp2Session } from "node:http2";
import { brotliCompressSync, deflateSync, gzipSync, zstdCompressSync } from "node:zlib";
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError, createClient, type ServiceImpl } from "@connectrpc/connect";
import {
  createConnectTransport,
  createGrpcTransport,
  createGrpcWebTransport,
} from "@connectrpc/connect-node";
import { Metadata, type ServiceError, status } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { ErrorInfoSchema, RetryInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import {
  GRPCInferenceService,
  ModelInferRequestSchema,
  ModelInferResponseSchema,
  ServerLiveRequestSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import { createHttp1Transport } from "../../server/wire/client/http1-transport.ts";
import { PeerGoneError } from "../../server/wire/request-signal.ts";
import { closed, type Http2Answer, openHttp2, request2, text } from "../wire/start-wire.ts";
import { envelope, openGrpcJs, startHost, type TestHost } from "./start-host.ts";

type Service = Partial<ServiceImpl<typeof GRPCInferenceService>>;

const echoService: Service = {
  serverLive: () => ({ live: true }),
  modelInfer: ({ modelName, rawInputContents }) => ({
    modelName,
    rawOutputContents: rawInputContents,
  }),
  async *modelStreamInfer(requests) {
    for await (const { id } of requests) yield { inferResponse: { id } };
  },
};

function serve(t: ExecutionContext<unknown>, service: Service): Promise<TestHost> {
  return startHost(t, (router) => router.service(GRPCInferenceService, service));
}

const inferPath = "/inference.GRPCInferenceService/ModelInfer";
const livePath = "/inference.GRPCInferenceService/ServerLive";
const grpcHeaders = (path: string) => ({
  ":method": "POST",
  ":path": path,
  "content-type": "application/grpc",
  te: "trailers",
});

function callRaw(
  session: ClientHttp2Session,
  path: string,
  body: Uint8Array,
  headers: Record<string, string> = {},
): Promise<Http2Answer> {
  return request2(session, { ...grpcHeaders(path), ...headers }, body);
}

/** Status of a gRPC answer, wherever it stands; it stands in one place only. */
function statusOf(t: ExecutionContext<unknown>, answer: Http2Answer): [number, string] {
  const places = [answer.headers, answer.trailers].filter((fields) => fields?.["grpc-status"]);
  t.is(places.length, 1);
  const fields = places[0]!;
  return [Number(fields["grpc-status"]), decodeURIComponent(String(fields["grpc-message"] ?? ""))];
}

const transports = {
  gRPC: (baseUrl: string) => createGrpcTransport({ baseUrl }),
  "gRPC-Web over HTTP/1.1": (baseUrl: string) =>
    createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
  "gRPC-Web over HTTP/2": (baseUrl: string) =>
    createGrpcWebTransport({ baseUrl, httpVersion: "2" }),
  "Connect over HTTP/1.1": (baseUrl: string) =>
    createConnectTransport({ baseUrl, httpVersion: "1.1" }),
  "Connect with JSON": (baseUrl: string) =>
    createConnectTransport({ baseUrl, httpVersion: "2", useBinaryFormat: false }),
};

for (const [name, transport] of Object.entries(transports)) {
  test(`${name}: calls are answered`, async (t) => {
    const { baseUrl } = await serve(t, echoService);
    const client = createClient(GRPCInferenceService, transport(baseUrl));
    t.true((await client.serverLive({})).live);
    const raw = Buffer.alloc(300_000, "x");
    const { rawOutputContents } = await client.modelInfer({ rawInputContents: [raw] });
    t.true(Buffer.from(rawOutputContents[0]!).equals(raw));
  });

  test(`${name}: errors carry code, message and details`, async (t) => {
    const { baseUrl, internalErrors } = await serve(t, {
      modelInfer: () => {
        throw new TensorwireError("QUEUE_FULL", "the queue is füll", {
          model: "m",
          retryAfterMs: "1500",
        });
      },
    });
    const client = createClient(GRPCInferenceService, transport(baseUrl));
    const error = await t.throwsAsync(() => client.modelInfer({}), { instanceOf: ConnectError });
    t.is(error.code, Code.Unavailable);
    t.is(error.rawMessage, "the queue is füll");
    t.like(error.findDetails(ErrorInfoSchema)[0], {
      reason: "QUEUE_FULL",
      domain: "tensorwire",
      metadata: { model: "m", retryAfterMs: "1500" },
    });
    t.like(error.findDetails(RetryInfoSchema)[0]?.retryDelay, { seconds: 1n, nanos: 500_000_000 });
    t.deepEqual(internalErrors, []);
  });

  test(`${name}: a message over the limit is refused with the limit and the setting`, async (t) => {
    const { baseUrl } = await serve(t, echoService);
    const client = createClient(GRPCInferenceService, transport(baseUrl));
    const error = await t.throwsAsync(
      () => client.modelInfer({ rawInputContents: [new Uint8Array(3 * 1024 * 1024)] }),
      { instanceOf: ConnectError },
    );
    t.is(error.code, Code.ResourceExhausted);
    t.regex(error.rawMessage, /the limit is 1048576 bytes; .*--max-message-size/);
    t.is(error.findDetails(ErrorInfoSchema)[0]?.reason, "REQUEST_TOO_LARGE");
    t.true((await client.serverLive({})).live);
  });

  test(`${name}: an unknown failure is INTERNAL, and only the log learns more`, async (t) => {
    const { baseUrl, internalErrors } = await serve(t, {
      modelInfer: () => {
        throw new Error("secret path");
      },
    });
    const client = createClient(GRPCInferenceService, transport(baseUrl));
    const error = await t.throwsAsync(() => client.modelInfer({}), { instanceOf: ConnectError });
    t.is(error.code, Code.Internal);
    t.notRegex(error.message, /secret/);
    t.like(internalErrors[0]?.error.cause, { message: "secret path" });
    t.is(internalErrors[0]?.method, "inference.GRPCInferenceService/ModelInfer");
  });

  test(`${name}: the deadline ends a call whose handler does not`, async (t) => {
    const signal = Promise.withResolvers<AbortSignal>();
    const { port } = await serve(t, {
      modelInfer: (_request, context) => {
        signal.resolve(context.signal);
        return new Promise(() => {});
      },
    });
    // By hand, so that it is the server that says so and not the client.
    const session = openHttp2(t, port);
    const json = name === "Connect with JSON";
    const type = json ? "json" : "proto";
    const connect = name.startsWith("Connect");
    const web = name.startsWith("gRPC-Web");
    const answer = connect
      ? await request2(
          session,
          {
            ":method": "POST",
            ":path": inferPath,
            "content-type": `application/${type}`,
            "connect-timeout-ms": "50",
          },
          Buffer.from(json ? "{}" : ""),
        )
      : await callRaw(session, inferPath, envelope(Buffer.alloc(0)), {
          "content-type": web ? "application/grpc-web+proto" : "application/grpc",
          "grpc-timeout": "50m",
        });
    if (connect) t.is(JSON.parse(answer.body.toString()).code, "deadline_exceeded");
    else if (web) t.regex(answer.body.toString("latin1"), /grpc-status: 4\r\n/);
    else t.is(statusOf(t, answer)[0], status.DEADLINE_EXCEEDED);
    t.true((await signal.promise).aborted);
  });
}

test("errors in a stream carry details, after the messages before them", async (t) => {
  const { baseUrl } = await serve(t, {
    async *modelStreamInfer(requests) {
      for await (const { id } of requests) {
        if (id === "bad") throw new TensorwireError("MODEL_NOT_FOUND", "no such", { model: "m" });
        yield { inferResponse: { id } };
      }
    },
  });
  const client = createClient(GRPCInferenceService, createGrpcTransport({ baseUrl }));
  const ids: (string | undefined)[] = [];
  const error = await t.throwsAsync(
    async () => {
      const requests = (async function* () {
        yield { id: "a" };
        yield { id: "bad" };
      })();
      for await (const { inferResponse } of client.modelStreamInfer(requests)) {
        ids.push(inferResponse?.id);
      }
    },
    { instanceOf: ConnectError },
  );
  t.deepEqual(ids, ["a"]);
  t.is(error.code, Code.NotFound);
  t.is(error.findDetails(ErrorInfoSchema)[0]?.reason, "MODEL_NOT_FOUND");
});

test("@grpc/grpc-js calls, and sees status and details", async (t) => {
  const { port } = await serve(t, {
    ...echoService,
    serverReady: () => {
      throw new TensorwireError("MODEL_NOT_READY", "loading");
    },
  });
  const client = openGrpcJs(t, port);
  const response = await new Promise((resolve, reject) => {
    client.makeUnaryRequest(
      inferPath,
      (request) => Buffer.from(toBinary(ModelInferRequestSchema, request)),
      (bytes) => fromBinary(ModelInferResponseSchema, bytes),
      create(ModelInferRequestSchema, { modelName: "m", rawInputContents: [Buffer.from("ab")] }),
      (error, value) => (error ? reject(error) : resolve(value)),
    );
  });
  t.like(response, { modelName: "m" });
  const error = await new Promise<ServiceError | null>((resolve) => {
    client.makeUnaryRequest(
      "/inference.GRPCInferenceService/ServerReady",
      () => Buffer.alloc(0),
      (bytes) => bytes,
      {},
      (failure) => resolve(failure),
    );
  });
  t.is(error?.code, status.UNAVAILABLE);
  t.is(error?.details, "loading");
  t.true(Buffer.isBuffer(error?.metadata.get("grpc-status-details-bin")[0]));
});

test("a cancel aborts the signal of the call", async (t) => {
  const begun = Promise.withResolvers<AbortSignal>();
  const { port, internalErrors } = await serve(t, {
    modelInfer: (_request, { signal }) => {
      begun.resolve(signal);
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(new Error("given up")));
      });
    },
  });
  const client = openGrpcJs(t, port);
  const failed = Promise.withResolvers<ServiceError | null>();
  const call = client.makeUnaryRequest(
    inferPath,
    () => Buffer.alloc(0),
    (bytes) => bytes,
    {},
    new Metadata(),
    (error) => failed.resolve(error),
  );
  const signal = await begun.promise;
  call.cancel();
  if (!signal.aborted) await once(signal, "abort");
  t.true(signal.reason instanceof PeerGoneError);
  t.is((await failed.promise)?.code, status.CANCELLED);
  t.deepEqual(internalErrors, [], "a caller that leaves is no failure of the server");
});

test("a cancel ends a stream whose handler waits for ever", async (t) => {
  const ended = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const { port } = await serve(t, {
    async *modelStreamInfer(requests) {
      try {
        yield { errorMessage: "first" };
        begun.resolve();
        for await (const _ of requests);
      } finally {
        ended.resolve();
      }
    },
  });
  const stream = openHttp2(t, port).request(
    grpcHeaders("/inference.GRPCInferenceService/ModelStreamInfer"),
  );
  stream.on("error", () => {});
  await begun.promise;
  stream.close(8);
  await ended.promise;
  await closed(stream);
  t.pass();
});

test("a deadline ends a stream that waits for its client, and one whose request is not whole", async (t) => {
  const { port } = await serve(t, echoService);
  const session = openHttp2(t, port);
  for (const path of ["/inference.GRPCInferenceService/ModelStreamInfer", inferPath]) {
    const stream = session.request({ ...grpcHeaders(path), "grpc-timeout": "50m" });
    stream.on("error", () => {});
    stream.write(Buffer.from([0, 0, 0]));
    let ending: unknown;
    stream.on("trailers", (fields) => {
      ending = fields["grpc-status"];
    });
    stream.on("response", (fields) => {
      ending ??= fields["grpc-status"];
    });
    stream.resume();
    await once(stream, "end");
    t.is(ending, String(status.DEADLINE_EXCEEDED), path);
    stream.close();
  }
});

test("a deadline above the limit is cut, and one beyond every timer is no past one", async (t) => {
  const left: (number | undefined)[] = [];
  const { port } = await serve(t, {
    serverLive: (_request, { timeoutMs }) => {
      left.push(timeoutMs());
      return { live: true };
    },
  });
  const session = openHttp2(t, port);
  for (const timeout of ["2H", "99999999H", "1S"]) {
    const answer = await callRaw(session, livePath, envelope(Buffer.alloc(0)), {
      "grpc-timeout": timeout,
    });
    t.is(statusOf(t, answer)[0], status.OK, timeout);
  }
  t.true(left[0]! > 3_500_000 && left[0]! <= 3_600_000);
  t.true(left[1]! > 3_500_000 && left[1]! <= 3_600_000);
  t.true(left[2]! <= 1000);
});

test("a malformed timeout is INVALID_ARGUMENT", async (t) => {
  const { port } = await serve(t, echoService);
  const session = openHttp2(t, port);
  for (const timeout of ["1", "S", "-1S", "123456789S", "1x"]) {
    const answer = await callRaw(session, livePath, envelope(Buffer.alloc(0)), {
      "grpc-timeout": timeout,
    });
    t.is(statusOf(t, answer)[0], status.INVALID_ARGUMENT, timeout);
  }
});

test("bytes that are no message are refused once, and the connection goes on", async (t) => {
  const { port, internalErrors } = await serve(t, echoService);
  const session = openHttp2(t, port);
  const cases: [string, Buffer, Record<string, string>, RegExp][] = [
    ["malformed protobuf", envelope(Buffer.from([0x0a, 0xff])), {}, /parse binary/],
    ["a frame cut short", envelope(Buffer.alloc(10)).subarray(0, 8), {}, /incomplete envelope/],
    ["a prefix cut short", Buffer.from([0, 0]), {}, /incomplete envelope/],
    [
      "bad gzip",
      envelope(Buffer.from("no gzip"), 1),
      { "grpc-encoding": "gzip" },
      /its bytes are not gzip/,
    ],
    [
      "gzip cut short",
      envelope(gzipSync(Buffer.alloc(1000, "abc")).subarray(0, 15), 1),
      { "grpc-encoding": "gzip" },
      /its bytes are not gzip/,
    ],
    ["bad brotli", envelope(Buffer.from("no"), 1), { "grpc-encoding": "br" }, /are not br/],
    ["a compressed flag without encoding", envelope(Buffer.alloc(3), 1), {}, /compressed/],
  ];
  for (const [name, body, headers, message] of cases) {
    const [code, text] = statusOf(t, await callRaw(session, inferPath, body, headers));
    t.true([status.INVALID_ARGUMENT, status.INTERNAL].includes(code), `${name}: ${code}`);
    t.regex(text, message, name);
  }
  t.is(statusOf(t, await callRaw(session, livePath, envelope(Buffer.alloc(0))))[0], status.OK);
  t.deepEqual(internalErrors, []);
});

test("no message, and two, are refused for a unary call", async (t) => {
  const { port } = await serve(t, echoService);
  const session = openHttp2(t, port);
  const one = envelope(Buffer.alloc(0));
  for (const body of [Buffer.alloc(0), Buffer.concat([one, one])]) {
    const [code, message] = statusOf(t, await callRaw(session, livePath, body));
    t.is(code, status.UNIMPLEMENTED);
    t.regex(message, /missing input message|extra input message/);
  }
});

const compressors = {
  gzip: gzipSync,
  br: brotliCompressSync,
  zstd: zstdCompressSync,
  deflate: deflateSync,
} as const;

for (const [encoding, compress] of Object.entries(compressors)) {
  test(`a ${encoding} bomb is refused with the limit`, async (t) => {
    const { port } = await serve(t, echoService);
    const bomb = envelope(compress(Buffer.alloc(64 * 1024 * 1024)), 1);
    t.true(bomb.byteLength < 100_000);
    const [code, message] = statusOf(
      t,
      await callRaw(openHttp2(t, port), inferPath, bomb, { "grpc-encoding": encoding }),
    );
    t.is(code, status.RESOURCE_EXHAUSTED);
    t.regex(message, /the limit is 1048576 bytes/);
  });

  test(`requests in ${encoding} are taken, and answers are not compressed unasked`, async (t) => {
    const { port } = await serve(t, echoService);
    const message = toBinary(
      ModelInferRequestSchema,
      create(ModelInferRequestSchema, { rawInputContents: [Buffer.alloc(100_000)] }),
    );
    const answer = await callRaw(openHttp2(t, port), inferPath, envelope(compress(message), 1), {
      "grpc-encoding": encoding,
      "grpc-accept-encoding": encoding,
    });
    t.is(statusOf(t, answer)[0], status.OK);
    t.is(answer.body[0], 0, "the flag for compression");
    const { rawOutputContents } = fromBinary(ModelInferResponseSchema, answer.body.subarray(5));
    t.is(rawOutputContents[0]?.byteLength, 100_000);
  });
}

test("over HTTP/1.1 a stream both ways takes all requests, and answers afterwards", async (t) => {
  for (const protocol of ["connect", "grpc-web"] as const) {
    const { baseUrl } = await serve(t, echoService);
    const client = createClient(GRPCInferenceService, createHttp1Transport({ protocol, baseUrl }));
    const ids: (string | undefined)[] = [];
    const requests = async function* (): AsyncIterable<{ id: string }> {
      for (const id of ["a", "b", "c"]) yield { id };
    };
    for await (const { inferResponse } of client.modelStreamInfer(requests()))
      ids.push(inferResponse?.id);
    t.deepEqual(ids, ["a", "b", "c"], protocol);
  }
});

test("an unknown encoding is UNIMPLEMENTED, with those that are known", async (t) => {
  const { port } = await serve(t, echoService);
  const answer = await callRaw(openHttp2(t, port), livePath, envelope(Buffer.alloc(0), 1), {
    "grpc-encoding": "snappy",
  });
  const [code, message] = statusOf(t, answer);
  t.is(code, status.UNIMPLEMENTED);
  t.regex(message, /snappy/);
  const fields = { ...answer.headers, ...answer.trailers };
  t.is(fields["grpc-accept-encoding"], "identity,gzip,br,zstd,deflate");
});

test("an unknown service is UNIMPLEMENTED in the caller's protocol, and names it", async (t) => {
  const { port, baseUrl } = await serve(t, echoService);
  const session = openHttp2(t, port);
  const path = "/no.such.Service/Method";
  const [code, message] = statusOf(t, await callRaw(session, path, envelope(Buffer.alloc(0))));
  t.is(code, status.UNIMPLEMENTED);
  t.true(message.includes("no.such.Service/Method"));
  const web = await request2(
    session,
    { ":method": "POST", ":path": path, "content-type": "application/grpc-web+proto" },
    envelope(Buffer.alloc(0)),
  );
  t.is(web.body[0], 0x80);
  t.is(web.body.readUInt32BE(1), web.body.byteLength - 5);
  t.regex(web.body.toString("latin1"), /grpc-status: 12\r\n/);
  const connect = await fetch(baseUrl + path, {
    method: "POST",
    headers: { "content-type": "application/json", "connect-protocol-version": "1" },
    body: "{}",
  });
  t.is(connect.status, 404);
  t.like(await connect.json(), { code: "unimplemented" });
});

test("a failure that is told with what is no Unicode text is told all the same", async (t) => {
  const { port } = await serve(t, {
    modelInfer: () => {
      throw new TensorwireError("MODEL_NOT_FOUND", "no \ud800!", { model: "\ud800" });
    },
  });
  const answer = await callRaw(openHttp2(t, port), inferPath, envelope(Buffer.alloc(0)));
  t.deepEqual(statusOf(t, answer), [status.NOT_FOUND, "no \ufffd!"]);
});

test("what is no RPC goes to the fallback", async (t) => {
  const { baseUrl } = await startHost(t, (router) => router.service(GRPCInferenceService, {}), {
    fallback: async ({ method, url }) => ({
      status: 418,
      body: text(`${method} ${new URL(url).pathname}`),
    }),
  });
  const answer = await fetch(`${baseUrl}/v2/models`, { method: "PUT" });
  t.is(answer.status, 418);
  t.is(await answer.text(), "PUT /v2/models");
});

test("a method that is not implemented is UNIMPLEMENTED", async (t) => {
  const { port } = await serve(t, {});
  const [code] = statusOf(
    t,
    await callRaw(
      openHttp2(t, port),
      livePath,
      envelope(toBinary(ServerLiveRequestSchema, create(ServerLiveRequestSchema))),
    ),
  );
  t.is(code, status.UNIMPLEMENTED);
});
