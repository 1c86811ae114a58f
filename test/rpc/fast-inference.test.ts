import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http2";
import { gzipSync } from "node:zlib";
import { create, type DescMessage, fromBinary, toBinary } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { findTrailerError } from "@connectrpc/connect/protocol-grpc";
import test, { type ExecutionContext } from "ava";
import fc from "fast-check";
import { Registry } from "prom-client";
import { ErrorInfoSchema } from "../../gen/google/rpc/error_details_pb.ts";
import {
  GRPCInferenceService,
  ModelInferRequestSchema,
  ModelInferResponseSchema,
  ModelReadyRequestSchema,
  ModelReadyResponseSchema,
  ServerLiveResponseSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../server/errors/tensorwire-error.ts";
import type { CallContext } from "../../server/rpc/call-context.ts";
import { CallMetrics } from "../../server/rpc/call-metrics.ts";
import { createConnectHost } from "../../server/rpc/connect-host.ts";
import { createDrainGate } from "../../server/rpc/drain-gate.ts";
import { createDrainInterceptor } from "../../server/rpc/drain-streams.ts";
import { createFastInference } from "../../server/rpc/fast-inference.ts";
import type { InferRequest } from "../../server/rpc/infer-messages.ts";
import type { InferenceBackend } from "../../server/rpc/inference-backend.ts";
import { registerInferenceService } from "../../server/rpc/inference-connect-service.ts";
import { deadlineWheel } from "../../server/wire/timer-wheel.ts";
import type { WireServer } from "../../server/wire/wire-server.ts";
import { until } from "../support/until.ts";
import { closed, openHttp2, request2, startWire } from "../wire/start-wire.ts";
import { envelope } from "./start-host.ts";

// The same service twice: one server answers from bytes to bytes, the other through Connect. Whatever a
// caller sends, both answer alike.

const maxMessageBytes = 64 * 1024;

/** A backend that echoes, and fails as the name of the model says. */
class EchoBackend {
  readonly contexts: CallContext[] = [];
  readonly waiting: PromiseWithResolvers<void>[] = [];

  get backend(): InferenceBackend {
    return {
      serverLive: async () => ({ live: true }),
      serverReady: async () => ({ ready: true }),
      modelReady: async ({ name }: { name: string }) => ({ ready: name === "echo" }),
      modelMetadata: async ({ name }: { name: string }) => ({ name, platform: "echo" }),
      modelInfer: (request: InferRequest, context: CallContext) => this.#infer(request, context),
    } as unknown as InferenceBackend;
  }

  #infer(request: InferRequest, context: CallContext) {
    this.contexts.push(context);
    const { modelName } = request;
    if (modelName === "at-once") return answerOf(request);
    return this.#inferLater(request, context);
  }

  async #inferLater(request: InferRequest, context: CallContext) {
    switch (request.modelName) {
      case "missing":
        throw new TensorwireError("MODEL_NOT_FOUND", "no model is called missing: say ümläut %", {
          model: "missing",
        });
      case "broken":
        throw new RangeError("a secret of the inside");
      case "status":
        throw new ConnectError("as it is", Code.DataLoss, { "x-more": "m" });
      case "waits": {
        const gone = Promise.withResolvers<void>();
        this.waiting.push(gone);
        context.signal.addEventListener("abort", () => gone.resolve());
        await gone.promise;
        throw new TensorwireError("CALL_CANCELLED", "gone", {});
      }
      case "deaf": {
        const kept = Promise.withResolvers<void>();
        this.waiting.push(kept);
        await kept.promise;
        return answerOf(request);
      }
      default:
        return answerOf(request);
    }
  }
}

function answerOf(request: InferRequest) {
  return {
    modelName: request.modelName,
    modelVersion: request.modelVersion,
    id: request.id,
    parameters: request.parameters as never,
    outputs: request.inputs.map(({ name, datatype, shape, contents, parameters }) => ({
      name,
      datatype,
      shape: Array.from(shape),
      parameters: parameters as never,
      ...(contents ? { contents: contents as never } : {}),
    })),
    rawOutputContents: request.rawInputContents.map((bytes) => Uint8Array.from(bytes)),
  };
}

interface Host {
  readonly echo: EchoBackend;
  readonly wire: WireServer;
  readonly port: number;
  readonly registry: Registry;
  readonly gate: ReturnType<typeof createDrainGate>;
  readonly internal: string[];
}

async function startOne(t: ExecutionContext, isFast: boolean): Promise<Host> {
  const echo = new EchoBackend();
  const registry = new Registry();
  const metrics = new CallMetrics(registry);
  const gate = createDrainGate();
  const internal: string[] = [];
  const onInternalError = (error: TensorwireError, where: string): void => {
    internal.push(`${where}: ${error.cause}`);
  };
  const { backend } = echo;
  const common = { maxMessageBytes, maxTimeoutMs: 3_600_000, onInternalError };
  const handler = createConnectHost({
    ...common,
    routes: (router) => registerInferenceService(router, backend),
    interceptors: [metrics.interceptor(), createDrainInterceptor(gate.closed)],
    fallback: async () => ({ status: 404 }),
  });
  const fast = createFastInference({ ...common, backend, gate, metrics });
  const { wire, port } = await startWire(t, gate.wrap(handler), isFast ? { fast } : {});
  return { echo, wire, port, registry, gate, internal };
}

async function startBoth(t: ExecutionContext) {
  const [fast, connect] = await Promise.all([startOne(t, true), startOne(t, false)]);
  return {
    fast,
    connect,
    sessions: [openHttp2(t, fast.port), openHttp2(t, connect.port)] as const,
  };
}

const path = (method: string): string => `/${GRPCInferenceService.typeName}/${method}`;

const grpc: OutgoingHttpHeaders = {
  ":method": "POST",
  "content-type": "application/grpc",
  te: "trailers",
};

/** What a caller sees of an answer, with its messages decoded. */
interface Seen {
  readonly status: number | undefined;
  readonly type: unknown;
  readonly grpcStatus: unknown;
  readonly message: string | undefined;
  readonly details: unknown;
  readonly inTrailers: boolean;
  readonly more: unknown;
  readonly answers: unknown[];
  readonly encodings: unknown;
}

function see(answer: Awaited<ReturnType<typeof request2>>, output: DescMessage): Seen {
  const { status, headers, trailers, body } = answer;
  const fields = trailers ?? headers;
  const details = fields["grpc-status-details-bin"];
  const answers: unknown[] = [];
  for (let at = 0; at + 5 <= body.length; ) {
    const length = body.readUInt32BE(at + 1);
    answers.push(fromBinary(output, body.subarray(at + 5, at + 5 + length)));
    at += 5 + length;
  }
  return {
    status,
    type: `${headers["content-type"]}`.replace("+proto", ""),
    grpcStatus: fields["grpc-status"],
    // What exactly is wrong with a message is told in the words of its decoder.
    message: decodeURIComponent(`${fields["grpc-message"]}`).replace(/^(parse binary: ).*/, "$1"),
    details: details && detailsOf(fields),
    inTrailers: trailers !== undefined,
    more: fields["x-more"],
    answers,
    encodings: headers["grpc-accept-encoding"],
  };
}

function detailsOf(fields: IncomingHttpHeaders): unknown {
  const error = findTrailerError(
    new Headers({
      "grpc-status": `${fields["grpc-status"]}`,
      "grpc-status-details-bin": `${fields["grpc-status-details-bin"]}`,
    }),
  );
  return { count: error?.details.length, info: error?.findDetails(ErrorInfoSchema) };
}

interface Sent {
  readonly method?: string;
  readonly fields?: OutgoingHttpHeaders;
  readonly body?: Uint8Array;
}

const echoed = (more: object = {}): Buffer =>
  envelope(
    toBinary(
      ModelInferRequestSchema,
      create(ModelInferRequestSchema, { modelName: "echo", ...more }),
    ),
  );
const full = echoed({
  modelVersion: "3",
  id: "request-1",
  parameters: {
    a: { parameterChoice: { case: "boolParam", value: true } },
    b: { parameterChoice: { case: "int64Param", value: -5n } },
    c: { parameterChoice: { case: "stringParam", value: "ü" } },
  },
  inputs: [
    { name: "x", datatype: "FP32", shape: [2n, 3n] },
    { name: "y", datatype: "INT64", shape: [1n], contents: { int64Contents: [7n] } },
  ],
  rawInputContents: [new Uint8Array(24).fill(3)],
});

const cases: Readonly<Record<string, Sent>> = {
  "a whole request": { body: full },
  "a request whose answer is there at once": { body: echoed({ modelName: "at-once", id: "x" }) },
  "an empty message": { body: envelope(new Uint8Array(0)) },
  "another content type of gRPC": {
    fields: { "content-type": "application/grpc+proto" },
    body: full,
  },
  "identity by name": { fields: { "grpc-encoding": "identity" }, body: full },
  "an error with a reason": { body: echoed({ modelName: "missing" }) },
  "an error that is ours": { body: echoed({ modelName: "broken" }) },
  "an error of another layer": { body: echoed({ modelName: "status" }) },
  "no message": { body: new Uint8Array(0) },
  "two messages": { body: Buffer.concat([full, full]) },
  "half a prefix": { body: full.subarray(0, 3) },
  "half a message": { body: full.subarray(0, full.length - 5) },
  "bytes that are no message": { body: envelope(Buffer.from("ffffffffff", "hex")) },
  "a message that is cut inside": { body: envelope(full.subarray(5, full.length - 3)) },
  "a string that is no UTF-8": { body: envelope(Buffer.from("0a02c328", "hex")) },
  "fields that nobody knows": {
    body: envelope(Buffer.concat([full.subarray(5), Buffer.from("f8aa0701", "hex")])),
  },
  "a message as large as may be": { body: envelope(large(maxMessageBytes)) },
  "a message one byte larger": { body: envelope(large(maxMessageBytes + 1)) },
  gzip: { fields: { "grpc-encoding": "gzip" }, body: envelope(gzipSync(full.subarray(5)), 1) },
  "gzip by name, but not used": { fields: { "grpc-encoding": "gzip" }, body: full },
  "compressed without an encoding": { body: envelope(gzipSync(full.subarray(5)), 1) },
  "an encoding that is unknown": {
    fields: { "grpc-encoding": "snappy" },
    body: envelope(full.subarray(5), 1),
  },
  "a content type that is unknown": {
    fields: { "content-type": "application/grpc+xml" },
    body: full,
  },
  "no gRPC": { fields: { "content-type": "text/plain" }, body: full },
  GET: { fields: { ":method": "GET" }, body: undefined as never },
  "a method that is unknown": { method: "ModelInferno", body: full },
  "a deadline": { fields: { "grpc-timeout": "10S" }, body: full },
  "a deadline longer than a caller gets": { fields: { "grpc-timeout": "99999999H" }, body: full },
  "a deadline that is none": { fields: { "grpc-timeout": "soon" }, body: full },
  "a deadline of nine digits": { fields: { "grpc-timeout": "123456789S" }, body: full },
  "a deadline that passes": {
    fields: { "grpc-timeout": "20m" },
    body: echoed({ modelName: "waits" }),
  },
  metadata: { fields: { "x-a": "1", "x-b-bin": "AAEC" }, body: full },
  "another method": {
    method: "ModelReady",
    body: envelope(
      toBinary(ModelReadyRequestSchema, create(ModelReadyRequestSchema, { name: "echo" })),
    ),
  },
};

function large(bytes: number): Buffer {
  const head = toBinary(
    ModelInferRequestSchema,
    create(ModelInferRequestSchema, { modelName: "echo" }),
  );
  // Field 7, raw_input_contents, with a length of three bytes.
  const rest = bytes - head.length - 4;
  const prefix = Buffer.of(0x3a, (rest & 0x7f) | 0x80, ((rest >> 7) & 0x7f) | 0x80, rest >> 14);
  return Buffer.concat([head, prefix, Buffer.alloc(rest, 9)]);
}

const outputs: Readonly<Record<string, DescMessage>> = {
  ModelReady: ModelReadyResponseSchema,
  ServerLive: ServerLiveResponseSchema,
};

for (const [name, { method = "ModelInfer", fields, body }] of Object.entries(cases)) {
  test(`both answer alike: ${name}`, async (t) => {
    const { sessions, fast, connect } = await startBoth(t);
    const headers = { ...grpc, ":path": path(method), ...fields };
    const [one, other] = await Promise.all(
      sessions.map((session) => request2(session, headers, body)),
    );
    const output = outputs[method] ?? ModelInferResponseSchema;
    t.deepEqual(see(one!, output), see(other!, output));
    t.true(one!.status !== undefined, "there is an answer");
    t.deepEqual(fast.internal, connect.internal);
    t.deepEqual(toldTo(fast.echo), toldTo(connect.echo));
    // What is counted.
    await until(
      () => deadlineWheel.armed === 0,
      () => `${deadlineWheel.armed} deadlines are armed`,
    );
    const isParsed = !see(other!, output).message?.startsWith("parse binary");
    // Connect parses a message before anything counts it; a call whose message is none is a call too.
    const counts = await counted(isParsed ? connect.registry : await internalCall(method));
    t.deepEqual(await counted(fast.registry), counts);
  });
}

/** What handlers are told of callers. A deadline that is cut is shortened in Connect's header. */
function toldTo({ contexts }: EchoBackend): unknown {
  return contexts.map(({ peer, requestHeader }) => [
    peer,
    [...requestHeader].filter(([name]) => name !== "grpc-timeout").sort(),
  ]);
}

/** Metrics of one call that was answered INTERNAL. */
async function internalCall(name: string): Promise<Registry> {
  const registry = new Registry();
  const method = GRPCInferenceService.methods.find((each) => each.name === name)!;
  const counts = new CallMetrics(registry).of(method);
  counts.failed(counts.begun(), "Internal");
  return registry;
}

test("a flag that gRPC does not know is refused, which Connect lets pass", async (t) => {
  const { sessions } = await startBoth(t);
  const headers = { ...grpc, ":path": path("ModelInfer") };
  const whole = await request2(sessions[0], headers, envelope(full.subarray(5), 4));
  const long = envelope(large(maxMessageBytes));
  long[0] = 255;
  const inParts = await request2(sessions[0], headers, long);
  t.is(whole.headers["grpc-status"], "13");
  t.regex(decodeURIComponent(`${whole.headers["grpc-message"]}`), /flag .* is 4, expected 0 or 1/);
  t.regex(decodeURIComponent(`${inParts.headers["grpc-message"]}`), /is 255/);
});

test("JSON goes through Connect on both", async (t) => {
  const { sessions } = await startBoth(t);
  const headers = { ...grpc, ":path": path("ModelInfer"), "content-type": "application/grpc+json" };
  const body = envelope(Buffer.from('{"modelName":"echo","id":"j"}'));
  const [one, other] = await Promise.all(
    sessions.map((session) => request2(session, headers, body)),
  );
  t.deepEqual(JSON.parse(one!.body.subarray(5).toString()), { modelName: "echo", id: "j" });
  t.deepEqual(one!.body, other!.body);
});

/** The counts of calls, without times. */
async function counted(registry: Registry): Promise<unknown> {
  const metrics = await registry.getMetricsAsJSON();
  return metrics
    .filter(({ name }) => !/seconds|duration/.test(name))
    .map(({ name, values }) => [
      name,
      values.filter(({ value }) => value !== 0).map(({ labels, value }) => [labels, value]),
    ]);
}

const value = fc.oneof(
  fc.record({ case: fc.constant("boolParam" as const), value: fc.boolean() }),
  fc.record({
    case: fc.constant("int64Param" as const),
    value: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
  }),
  fc.record({ case: fc.constant("stringParam" as const), value: fc.string({ unit: "binary" }) }),
  fc.record({ case: fc.constant("doubleParam" as const), value: fc.double({ noNaN: true }) }),
);
const parameters = fc.dictionary(
  fc.string({ maxLength: 8 }),
  value.map((parameterChoice) => ({ parameterChoice })),
  { maxKeys: 3 },
);
const requests = fc.record({
  modelName: fc.constantFrom("echo", "at-once", "missing", ""),
  modelVersion: fc.string({ maxLength: 5 }),
  id: fc.string({ unit: "grapheme", maxLength: 20 }),
  parameters,
  inputs: fc.array(
    fc.record({
      name: fc.string({ maxLength: 8 }),
      datatype: fc.constantFrom("FP32", "INT64", "BYTES", "nonsense"),
      shape: fc.array(fc.bigInt({ min: -1n, max: 2n ** 40n }), { maxLength: 4 }),
      parameters,
    }),
    { maxLength: 3 },
  ),
  rawInputContents: fc.array(fc.uint8Array({ maxLength: 20_000, size: "max" }), { maxLength: 2 }),
});

test("both answer alike: any request, whole, cut or with a byte changed, in any pieces", async (t) => {
  const { sessions } = await startBoth(t);
  const damage = fc.option(fc.tuple(fc.nat(), fc.nat({ max: 255 }), fc.boolean()), {
    nil: undefined,
    freq: 2,
  });
  await fc.assert(
    fc.asyncProperty(
      requests,
      damage,
      fc.integer({ min: 1, max: 30_000 }),
      async (request, harm, piece) => {
        const message = Buffer.from(
          toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, request)),
        );
        let body = envelope(message);
        if (harm && message.length > 0) {
          const at = 5 + (harm[0] % message.length);
          if (harm[2]) body = envelope(message.subarray(0, at - 5));
          else body[at] = harm[1];
        }
        const [one, other] = await Promise.all(
          sessions.map(async (session) => {
            const stream = session.request({ ...grpc, ":path": path("ModelInfer") });
            const parts: Buffer[] = [];
            let headers: IncomingHttpHeaders = {};
            let trailers: IncomingHttpHeaders | undefined;
            stream.on("response", (given) => {
              headers = given;
            });
            stream.on("trailers", (given) => {
              trailers = given;
            });
            stream.on("data", (part: Buffer) => parts.push(part));
            stream.on("error", () => {});
            for (let from = 0; from < body.length; from += piece) {
              stream.write(body.subarray(from, from + piece));
            }
            stream.end();
            await closed(stream);
            return see(
              {
                status: Number(headers[":status"]),
                headers,
                trailers,
                body: Buffer.concat(parts),
                rstCode: stream.rstCode,
              },
              ModelInferResponseSchema,
            );
          }),
        );
        // protobuf-es reads some messages that end within a field, and refuses some in which a known field
        // has a wire type that is not its own, which we skip: test/tensor/codec tells which.
        const refused = [one, other].some((end) => end!.message?.startsWith("parse binary"));
        if (harm && refused) return;
        t.deepEqual(one, other);
      },
    ),
    { numRuns: 300 },
  );
});

for (const method of ["ServerLive", "ServerReady", "ModelInfer"]) {
  test(`both answer alike: ${method} while the server drains`, async (t) => {
    const { sessions, fast, connect } = await startBoth(t);
    fast.gate.close();
    connect.gate.close();
    const headers = { ...grpc, ":path": path(method) };
    const body = method === "ModelInfer" ? full : envelope(new Uint8Array(0));
    const [one, other] = await Promise.all(
      sessions.map((session) => request2(session, headers, body)),
    );
    t.deepEqual(see(one!, ServerLiveResponseSchema), see(other!, ServerLiveResponseSchema));
  });
}

test("a cancelled call aborts its handler, and leaves nothing", async (t) => {
  const { fast, sessions } = await startBoth(t);
  const stream = sessions[0].request({
    ...grpc,
    ":path": path("ModelInfer"),
    "grpc-timeout": "60S",
  });
  stream.on("error", () => {});
  stream.end(echoed({ modelName: "waits" }));
  await until(
    () => fast.echo.waiting.length === 1,
    () => "the handler was not called",
  );
  const [context] = fast.echo.contexts;
  t.is(context!.aborted, undefined);
  stream.close(8);
  await fast.echo.waiting[0]!.promise;
  t.is(context!.aborted, "cancelled");
  await until(
    () => fast.wire.stats.openStreams === 0 && deadlineWheel.armed === 0,
    () => "something is left",
  );
  t.pass();
});

test("a connection that is lost aborts the handlers of its calls", async (t) => {
  const { fast, sessions } = await startBoth(t);
  for (let call = 0; call < 3; call++) {
    const stream = sessions[0].request({ ...grpc, ":path": path("ModelInfer") });
    stream.on("error", () => {});
    stream.end(echoed({ modelName: "waits" }));
  }
  await until(
    () => fast.echo.waiting.length === 3,
    () => "the handlers were not called",
  );
  sessions[0].destroy();
  await Promise.all(fast.echo.waiting.map(({ promise }) => promise));
  t.deepEqual(
    fast.echo.contexts.map(({ aborted }) => aborted),
    ["cancelled", "cancelled", "cancelled"],
  );
});

test("a handler that is deaf to its deadline: the caller is told, and its late answer is dropped", async (t) => {
  const { fast, sessions } = await startBoth(t);
  const headers = { ...grpc, ":path": path("ModelInfer"), "grpc-timeout": "10m" };
  const answer = await request2(sessions[0], headers, echoed({ modelName: "deaf" }));
  t.is(answer.headers["grpc-status"], "4");
  t.is(answer.body.length, 0);
  t.is(fast.echo.contexts[0]!.aborted, "deadline");
  fast.echo.waiting[0]!.resolve();
  const next = await request2(sessions[0], { ...grpc, ":path": path("ModelInfer") }, full);
  t.is(next.trailers?.["grpc-status"], "0");
  t.is(fast.wire.stats.openStreams, 0);
});
