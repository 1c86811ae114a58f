import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";
import test, { type ExecutionContext } from "ava";
import {
  createClient,
  InferenceError,
  type NodeClientOptions,
  type StreamRequest,
  tensor,
} from "../../../clients/typescript/src/node.ts";
import type {
  ModelInferRequest,
  ModelInferResponseSchema,
} from "../../../gen/inference/grpc_service_pb.ts";
import { callAborted, modelNotFound, queueFull } from "../../../server/errors/model-errors.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { toConnectError } from "../../../server/rpc/connect-errors.ts";
import { type FakeServerOptions, type FakeService, startFakeServer } from "./fake-server.ts";

const health: FakeService = { serverLive: () => ({ live: true }) };

/** Answers an inference with its own inputs. */
function echoed(request: ModelInferRequest): MessageInitShape<typeof ModelInferResponseSchema> {
  return {
    modelName: request.modelName,
    modelVersion: "1",
    id: request.id,
    parameters: request.parameters,
    outputs: request.inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
    rawOutputContents: request.rawInputContents,
  };
}

const echo: FakeService = {
  modelInfer: echoed,
  ...health,
};

async function connect(
  t: ExecutionContext<unknown>,
  service: FakeService,
  options?: NodeClientOptions,
  serverOptions?: FakeServerOptions,
) {
  const port = await startFakeServer(t, service, serverOptions);
  const scheme = serverOptions?.tls ? "https" : "http";
  const client = createClient(`${scheme}://localhost:${port}`, options);
  t.teardown(() => client.close());
  return client;
}

async function failure(promise: Promise<unknown>): Promise<InferenceError> {
  const thrown = await promise.then(
    () => new Error("the call succeeded"),
    (error: unknown) => error,
  );
  if (thrown instanceof InferenceError) return thrown;
  throw thrown;
}

/** Resolves when a call is in the server, and tells when the server saw it cancelled. */
function holdingService() {
  const entered = Promise.withResolvers<HandlerContext>();
  const service: FakeService = {
    modelInfer: async (_request, context) => {
      entered.resolve(context);
      await once(context.signal, "abort");
      throw new ConnectError("aborted", Code.Canceled);
    },
  };
  return { entered: entered.promise, service };
}

for (const protocol of ["grpc", "grpc-web", "connect"] as const) {
  test(`infer sends typed tensors and reads them over ${protocol}`, async (t) => {
    const client = await connect(t, echo, { protocol });
    const inputs = { x: tensor([1, 2], [1.5, -2]), names: tensor([2], ["a", "é"]) };
    const result = await client.infer("m", inputs, { id: "7", parameters: { k: 3 } });
    t.like(result, { modelName: "m", modelVersion: "1", id: "7", parameters: { k: 3 } });
    t.deepEqual(result.output("x", "FP32").data, Float32Array.of(1.5, -2));
    t.deepEqual(result.output("names", "BYTES").strings(), ["a", "é"]);
  });

  test(`an error carries its reason and metadata over ${protocol}`, async (t) => {
    const client = await connect(
      t,
      {
        modelInfer: () => {
          throw toConnectError(modelNotFound("m"));
        },
      },
      { protocol },
    );
    const error = await failure(client.infer("m", {}));
    t.like(error, { code: "NOT_FOUND", reason: "MODEL_NOT_FOUND", metadata: { model: "m" } });
    t.regex(error.message, /^model "m" is not in the repository/);
  });
}

test("outputs of an answer can be inputs of the next call", async (t) => {
  const client = await connect(t, echo);
  const first = await client.infer("m", { x: tensor([2], [1, 2], "INT8") });
  const second = await client.infer("m", first.outputs);
  t.deepEqual(second.output("x", "INT8").data, Int8Array.of(1, 2));
});

test("a message of 32 MiB passes in both directions", async (t) => {
  const client = await connect(t, echo);
  const data = new Float32Array(8 * 1024 * 1024).map((_value, index) => index);
  const result = await client.infer("m", { x: tensor([data.length], data) });
  t.deepEqual(
    Buffer.from(result.output("x", "FP32").data.buffer).length > data.byteLength - 1,
    true,
  );
  t.is(result.output("x", "FP32").data.at(-1), data.length - 1);
});

test("maxMessageBytes limits answers by name", async (t) => {
  const client = await connect(
    t,
    {
      modelInfer: () => ({
        outputs: [{ name: "y", datatype: "UINT8", shape: [2000n] }],
        rawOutputContents: [new Uint8Array(2000)],
      }),
    },
    { maxMessageBytes: 1000 },
  );
  const error = await failure(client.infer("m", {}));
  t.is(error.code, "RESOURCE_EXHAUSTED");
  t.regex(error.message, /1000/);
});

test("gzip compresses requests and answers", async (t) => {
  const encodings: (string | null)[] = [];
  const client = await connect(
    t,
    {
      modelInfer: (request, context) => {
        encodings.push(context.requestHeader.get("grpc-encoding"));
        encodings.push(context.requestHeader.get("grpc-accept-encoding"));
        return echoed(request);
      },
    },
    { compression: "gzip" },
  );
  const result = await client.infer("m", { x: tensor([5000], new Float32Array(5000)) });
  t.is(result.output("x", "FP32").data.length, 5000);
  t.deepEqual(encodings, ["gzip", "gzip"]);
});

test("timeoutMs travels to the server and ends the call", async (t) => {
  const { entered, service } = holdingService();
  const client = await connect(t, { ...service, ...health }, { timeoutMs: 60_000 });
  // The time to connect is not what is measured here.
  await client.serverLive();
  const call = failure(client.infer("m", {}, { timeoutMs: 1000 }));
  const { signal } = await entered;
  const error = await call;
  t.like(error, { code: "DEADLINE_EXCEEDED", reason: "DEADLINE_EXCEEDED" });
  t.is(error.message, "no answer within 1000 ms");
  if (!signal.aborted) await once(signal, "abort");
  t.true(signal.aborted);
});

test("a deadline that the server enforces keeps the server's words", async (t) => {
  const client = await connect(t, {
    modelInfer: () => {
      throw toConnectError(callAborted("deadline", "in the queue"));
    },
  });
  const error = await failure(client.infer("m", {}));
  t.like(error, { code: "DEADLINE_EXCEEDED", metadata: { where: "in the queue" } });
  t.is(error.message, "the deadline passed in the queue");
});

test("a timeout of 0 or less has passed before anything is sent", async (t) => {
  let calls = 0;
  const client = await connect(t, {
    modelInfer: () => {
      calls++;
      return {};
    },
  });
  for (const timeoutMs of [0, -5]) {
    t.is((await failure(client.infer("m", {}, { timeoutMs }))).code, "DEADLINE_EXCEEDED");
  }
  t.is(
    (await failure(client.infer("m", {}, { timeoutMs: Number.NaN }))).reason,
    "PARAMETER_INVALID",
  );
  await client.infer("m", {}, { timeoutMs: 2 ** 40 });
  t.is(calls, 1);
});

test("a signal cancels the call, on the server too", async (t) => {
  const { entered, service } = holdingService();
  const client = await connect(t, service);
  const controller = new AbortController();
  const call = failure(client.infer("m", {}, { signal: controller.signal }));
  const context = await entered;
  const seen = once(context.signal, "abort");
  controller.abort();
  t.like(await call, { code: "CANCELLED", reason: "CALL_CANCELLED" });
  await seen;
  t.true(context.signal.aborted);
});

test("close cancels calls in flight, and a later call connects again", async (t) => {
  const { entered, service } = holdingService();
  const client = await connect(t, { ...service, ...health });
  const call = failure(client.infer("m", {}));
  await entered;
  client.close();
  t.is((await call).code, "CANCELLED");
  t.true(await client.serverLive());
});

test("headers and token are asked for each call; headers of the call win", async (t) => {
  const seen: (string | null)[][] = [];
  let asked = 0;
  const client = await connect(
    t,
    {
      serverLive: (_request, { requestHeader }) => {
        seen.push(["authorization", "x-team", "x-both"].map((name) => requestHeader.get(name)));
        return { live: true };
      },
    },
    {
      token: async () => `t${++asked}`,
      headers: () => ({ "x-team": "a", "x-both": "client" }),
    },
  );
  await client.serverLive();
  await client.serverLive({ headers: { "x-both": "call" } });
  await client.rpc.serverLive({});
  t.deepEqual(seen, [
    ["Bearer t1", "a", "client"],
    ["Bearer t2", "a", "call"],
    ["Bearer t3", "a", "client"],
  ]);
});

test("an inference that the server refused is tried again, after the time it asks for", async (t) => {
  const arrivals: number[] = [];
  const client = await connect(t, {
    modelInfer: () => {
      arrivals.push(performance.now());
      if (arrivals.length < 3) throw toConnectError(queueFull("m", 1));
      return { modelName: "m" };
    },
  });
  t.is((await client.infer("m", {})).modelName, "m");
  t.is(arrivals.length, 3);
  // queueFull asks for 100 ms; timers may fire up to 1 ms early.
  t.true(arrivals[1]! - arrivals[0]! >= 99 && arrivals[2]! - arrivals[1]! >= 99);
});

test("tries end with the error of the last one", async (t) => {
  let calls = 0;
  const client = await connect(
    t,
    {
      modelInfer: () => {
        calls++;
        throw toConnectError(queueFull("m", calls));
      },
    },
    { retry: { attempts: 2, initialDelayMs: 0 } },
  );
  t.like(await failure(client.infer("m", {})), {
    reason: "QUEUE_FULL",
    retryAfterMs: 100,
    metadata: { maxQueueSize: "2" },
  });
  t.is(calls, 2);
});

test("no try begins that the deadline would not outlast", async (t) => {
  let calls = 0;
  const client = await connect(t, {
    modelInfer: () => {
      calls++;
      const metadata = { retryAfterMs: "60000" };
      throw toConnectError(new TensorwireError("QUEUE_FULL", "busy", metadata));
    },
  });
  const error = await failure(client.infer("m", {}, { timeoutMs: 30_000 }));
  t.is(error.reason, "QUEUE_FULL");
  t.is(calls, 1);
});

test("a signal ends the wait between tries", async (t) => {
  const controller = new AbortController();
  const client = await connect(
    t,
    {
      modelInfer: () => {
        setImmediate(() => controller.abort());
        throw toConnectError(queueFull("m", 1));
      },
    },
    { retry: { initialDelayMs: 600_000, maxDelayMs: 600_000 } },
  );
  const error = await failure(client.infer("m", {}, { signal: controller.signal }));
  t.is(error.code, "CANCELLED");
});

test("an inference is not sent twice after UNAVAILABLE without a reason; a health call is", async (t) => {
  let inferences = 0;
  let healthCalls = 0;
  const client = await connect(
    t,
    {
      modelInfer: () => {
        inferences++;
        throw new ConnectError("busy", Code.Unavailable);
      },
      serverReady: () => {
        healthCalls++;
        if (healthCalls === 1) throw new ConnectError("busy", Code.Unavailable);
        return { ready: true };
      },
    },
    { retry: { initialDelayMs: 1 } },
  );
  t.is((await failure(client.infer("m", {}))).code, "UNAVAILABLE");
  t.true(await client.serverReady());
  t.deepEqual([inferences, healthCalls], [1, 2]);
});

test("nobody listening is UNAVAILABLE, and says where and what to check", async (t) => {
  const blocker = createNetServer().listen(0, "127.0.0.1");
  await once(blocker, "listening");
  const { port } = blocker.address() as AddressInfo;
  blocker.close();
  await once(blocker, "close");
  const client = createClient(`http://localhost:${port}`, { retry: { attempts: 1 } });
  const error = await failure(client.infer("m", {}));
  t.is(error.code, "UNAVAILABLE");
  t.regex(error.message, new RegExp(`cannot reach http://localhost:${port}: .*ECONNREFUSED`));
  const unix = createClient("unix:/nowhere/at/all.sock", { retry: { attempts: 1 } });
  t.regex((await failure(unix.infer("m", {}))).message, /cannot reach unix:\/nowhere.*ENOENT/);
});

test("a server that comes up while a call is tried again takes it", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "tensorwire-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const unixPath = join(folder, "late.sock");
  let starting: Promise<number> | undefined;
  const client = createClient(`unix:${unixPath}`, {
    retry: { attempts: 20, initialDelayMs: 20 },
    headers: () => {
      // Asked before the first try: the server starts only after it has failed.
      starting ??= Promise.resolve().then(() => startFakeServer(t, echo, { unixPath }));
      return {};
    },
  });
  t.teardown(() => client.close());
  t.is((await client.infer("m", { x: tensor([1], [1]) })).modelName, "m");
  await starting;
});

test("a connection that is cut under an inference is UNAVAILABLE and not tried again", async (t) => {
  let connections = 0;
  const server = createNetServer((socket) => {
    connections++;
    socket.once("data", () => socket.resetAndDestroy());
  }).listen(0, "127.0.0.1");
  t.teardown(() => server.close());
  await once(server, "listening");
  const client = createClient(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  const error = await failure(client.infer("m", {}));
  t.is(error.code, "UNAVAILABLE");
  t.regex(error.message, /^the connection to http:\/\/127\.0\.0\.1:\d+ ended before the answer/);
  t.is(connections, 1);
});

test("unix sockets carry calls", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "tensorwire-"));
  t.teardown(() => rm(folder, { recursive: true }));
  const unixPath = join(folder, "s.sock");
  await startFakeServer(t, echo, { unixPath });
  for (const address of [`unix:${unixPath}`, `unix://${unixPath}`]) {
    const client = createClient(address);
    t.teardown(() => client.close());
    t.true(await client.serverLive());
  }
});

function pem(name: string): Promise<Buffer> {
  return readFile(new URL(`./certificates/${name}`, import.meta.url));
}

test("TLS trusts the given authority only, and names the certificate when it does not", async (t) => {
  const tls = { key: await pem("server.key"), cert: await pem("server.pem") };
  const ca = await pem("ca.pem");
  const trusting = await connect(t, echo, { tls: { ca } }, { tls });
  t.true(await trusting.serverLive());
  const wary = await connect(t, echo, { retry: { attempts: 1 } }, { tls });
  const error = await failure(wary.serverLive());
  t.is(error.code, "UNAVAILABLE");
  t.regex(error.message, /^no TLS connection to https:\/\/localhost:\d+: .*certificate/);
  const wrongName = await connect(t, echo, { tls: { ca, serverName: "other" } }, { tls });
  t.regex((await failure(wrongName.serverLive())).message, /^no TLS connection/);
});

test("mutual TLS shows the client's certificate", async (t) => {
  const ca = await pem("ca.pem");
  const tls = { key: await pem("server.key"), cert: await pem("server.pem"), ca };
  const own = { ca, cert: await pem("client.pem"), key: (await pem("client.key")).toString() };
  const known = await connect(t, echo, { tls: own }, { tls });
  t.true(await known.serverLive());
  const unknown = await connect(t, echo, { tls: { ca }, retry: { attempts: 1 } }, { tls });
  t.is((await failure(unknown.serverLive())).code, "UNAVAILABLE");
});

test("impossible addresses and options are refused by name", (t) => {
  const bad: readonly (readonly [() => unknown, RegExp])[] = [
    [() => createClient("ftp://host"), /"baseUrl": got "ftp:\/\/host"/],
    [() => createClient(""), /"baseUrl"/],
    [() => createClient("http://"), /"baseUrl"/],
    [() => createClient("unix:"), /"baseUrl"/],
    [
      () => createClient("h:1", { protocol: "http" as never }),
      /"protocol": got http, expected grpc,/,
    ],
    [() => createClient("h:1", { maxMessageBytes: 0 }), /"maxMessageBytes": got 0/],
    [() => createClient("h:1", { tls: {} }), /"tls".*https:\/\//],
    [() => createClient("h:1", { retry: { attempts: 0 } }), /"retry.attempts"/],
    [() => createClient("h:1", { compression: "br" as never }), /"compression": got br/],
  ];
  for (const [make, message] of bad) {
    t.like(t.throws(make, { instanceOf: InferenceError, message }), {
      reason: "PARAMETER_INVALID",
    });
  }
});

test("an address without a scheme is without TLS", async (t) => {
  const port = await startFakeServer(t, echo);
  const client = createClient(`127.0.0.1:${port}`);
  t.teardown(() => client.close());
  t.true(await client.serverLive());
});

test("metadata, configuration, statistics and the repository are read as plain values", async (t) => {
  const asked: unknown[] = [];
  const client = await connect(t, {
    serverMetadata: () => ({ name: "s", version: "1", extensions: ["e"] }),
    modelReady: ({ name, version }) => {
      asked.push(name, version);
      return { ready: true };
    },
    modelMetadata: ({ name, version }) => ({
      name,
      versions: [version],
      platform: "p",
      inputs: [{ name: "x", datatype: "FP32", shape: [-1n, 4n] }],
      outputs: [{ name: "y", datatype: "INT64", shape: [-1n] }],
    }),
    modelConfig: ({ name }) => ({ config: { name, maxBatchSize: 8 } }),
    modelStatistics: ({ name }) => ({ modelStats: [{ name, inferenceCount: 3n }] }),
    repositoryIndex: ({ ready }) => ({
      models: [{ name: "m", version: "1", state: ready ? "READY" : "", reason: "" }],
    }),
    repositoryModelLoad: ({ modelName }) => {
      asked.push("load", modelName);
      return {};
    },
    repositoryModelUnload: ({ modelName }) => {
      asked.push("unload", modelName);
      return {};
    },
  });
  t.deepEqual(await client.serverMetadata(), { name: "s", version: "1", extensions: ["e"] });
  t.true(await client.modelReady("m", { modelVersion: "2" }));
  t.deepEqual(await client.modelMetadata("m", { modelVersion: "2" }), {
    name: "m",
    versions: ["2"],
    platform: "p",
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 4] }],
    outputs: [{ name: "y", datatype: "INT64", shape: [-1] }],
  });
  t.is((await client.modelConfig("m"))?.maxBatchSize, 8);
  t.is((await client.modelStatistics({ model: "m" }))[0]?.inferenceCount, 3n);
  t.deepEqual(await client.repositoryIndex({ ready: true }), [
    { name: "m", version: "1", state: "READY", reason: "" },
  ]);
  await client.loadModel("m");
  await client.unloadModel("m");
  t.deepEqual(asked, ["m", "2", "load", "m", "unload", "m"]);
});

const streaming: FakeService = {
  async *modelStreamInfer(requests) {
    for await (const request of requests) {
      const { modelName, id } = request;
      if (modelName === "end") throw toConnectError(modelNotFound("end"));
      if (modelName === "bad") yield { errorMessage: "no such model", inferResponse: { id } };
      else yield { inferResponse: echoed(request) };
    }
  },
};

test("inferStream answers each request, and goes on after one that fails", async (t) => {
  const client = await connect(t, streaming);
  const requests: StreamRequest[] = ["m", "bad", "m"].map((model, index) => ({
    model,
    id: `${index}`,
    inputs: { x: tensor([1], [index]) },
  }));
  const answers: unknown[] = [];
  for await (const { id, result, error } of client.inferStream(requests)) {
    answers.push([id, error ? error.message : result.output("x", "FP32").data[0]]);
  }
  t.deepEqual(answers, [
    ["0", 0],
    ["1", "no such model"],
    ["2", 2],
  ]);
});

test("inferStream waits for requests as they come", async (t) => {
  const client = await connect(t, streaming);
  const answered: { resolve?: () => void } = {};
  async function* pingPong(): AsyncGenerator<StreamRequest> {
    for (const value of [1, 2, 3]) {
      const answer = Promise.withResolvers<void>();
      answered.resolve = answer.resolve;
      yield { model: "m", inputs: { x: tensor([1], [value]) } };
      // The next request exists only after the answer to this one.
      await answer.promise;
    }
  }
  const values: unknown[] = [];
  for await (const { result } of client.inferStream(pingPong())) {
    values.push(result?.output("x", "FP32").data[0]);
    answered.resolve?.();
  }
  t.deepEqual(values, [1, 2, 3]);
});

test("inferStream throws when the stream ends in an error", async (t) => {
  const client = await connect(t, streaming);
  const error = await failure(
    (async () => {
      for await (const _answer of client.inferStream([{ model: "end", inputs: {} }]));
    })(),
  );
  t.is(error.reason, "MODEL_NOT_FOUND");
});

test("leaving the loop of inferStream cancels it on the server and ends the requests", async (t) => {
  const cancelled = Promise.withResolvers<void>();
  const client = await connect(t, {
    async *modelStreamInfer(requests, { signal }) {
      signal.addEventListener("abort", () => cancelled.resolve());
      for await (const { id } of requests) yield { inferResponse: { id } };
    },
  });
  const ended = Promise.withResolvers<void>();
  async function* endless(): AsyncGenerator<StreamRequest> {
    try {
      for (;;) yield { model: "m", inputs: {} };
    } finally {
      ended.resolve();
    }
  }
  for await (const _answer of client.inferStream(endless())) break;
  await cancelled.promise;
  await ended.promise;
  t.pass();
});

test("inferStream hands on what the requests throw, and names an impossible input", async (t) => {
  const client = await connect(t, streaming);
  const broken = new RangeError("out of flowers");
  async function* requests(): AsyncGenerator<StreamRequest> {
    yield { model: "m", inputs: {} };
    throw broken;
  }
  async function drain(source: AsyncIterable<StreamRequest> | Iterable<StreamRequest>) {
    for await (const _answer of client.inferStream(source));
  }
  t.is(await t.throwsAsync(drain(requests())), broken);
  const bad = [{ model: "m", inputs: { here: { datatype: "FP32", shape: [2] } as never } }];
  t.like(await failure(drain(bad)), { reason: "REQUEST_MALFORMED" });
});

test("inferStream keeps a deadline", async (t) => {
  const client = await connect(t, {
    async *modelStreamInfer(_requests, { signal }) {
      await once(signal, "abort");
      yield {};
    },
  });
  const error = await failure(
    (async () => {
      const options = { timeoutMs: 50 };
      for await (const _answer of client.inferStream([{ model: "m", inputs: {} }], options));
    })(),
  );
  t.is(error.code, "DEADLINE_EXCEEDED");
});

test("inferStream says at once that gRPC-Web cannot", async (t) => {
  const client = createClient("localhost:1", { protocol: "grpc-web" });
  const error = await failure(
    (async () => {
      for await (const _answer of client.inferStream([]));
    })(),
  );
  t.like(error, { code: "UNIMPLEMENTED" });
});
