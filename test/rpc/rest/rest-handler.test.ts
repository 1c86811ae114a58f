import { gunzipSync, gzipSync } from "node:zlib";
import { createContextValues } from "@connectrpc/connect";
import test from "ava";
import type { RepositoryModelLoadRequest } from "../../../gen/inference/grpc_service_pb.ts";
import { TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import type { InferRequest } from "../../../server/rpc/infer-messages.ts";
import type { InferenceBackend } from "../../../server/rpc/inference-backend.ts";
import { createRestHandler, type RestHandler } from "../../../server/rpc/rest/rest-handler.ts";
import { type Peer, peerKey } from "../../../server/wire/peer.ts";
import { PeerGoneError } from "../../../server/wire/request-signal.ts";

/** A backend that answers its inputs as outputs and keeps what it was asked. */
interface Echo {
  readonly handler: RestHandler;
  readonly requests: InferRequest[];
  readonly loads: RepositoryModelLoadRequest[];
  readonly peers: Peer[];
  ready: boolean;
}

function echo(
  inputs: readonly { name: string; datatype: string }[] = [{ name: "x", datatype: "FP32" }],
): Echo {
  const state: Echo = {
    handler: undefined as never,
    requests: [],
    loads: [],
    peers: [],
    ready: true,
  };
  const backend: Partial<InferenceBackend> = {
    async modelInfer(request) {
      state.requests.push(request);
      if (request.modelName === "broken") throw new Error("a secret path");
      return {
        modelName: request.modelName,
        modelVersion: "1",
        id: request.id,
        outputs: request.inputs.map(({ name, datatype, shape }) => ({ name, datatype, shape })),
        rawOutputContents: request.rawInputContents,
      };
    },
    async modelMetadata({ name }) {
      return {
        name,
        versions: ["1"],
        platform: "p",
        inputs: inputs.map((input) => ({ ...input, shape: [-1n] })),
        outputs: [],
      };
    },
    async modelReady() {
      return { ready: state.ready };
    },
    async repositoryModelLoad(request, { peer }) {
      state.loads.push(request);
      state.peers.push(peer);
      return { modelName: request.modelName, isLoaded: true };
    },
    async cudaSharedMemoryStatus() {
      throw new TensorwireError("RPC_UNSUPPORTED", "CUDA memory cannot be shared");
    },
  };
  const handler = createRestHandler({
    backend: backend as InferenceBackend,
    probes: { isStarted: () => true, isReady: () => state.ready },
    metrics: async () => ({ contentType: "text/plain", text: "up 1\n" }),
    maxBodyBytes: 1000,
    maxTimeoutMs: 60_000,
    onInternalError: () => {},
  });
  return Object.assign(state, { handler });
}

const peer: Peer = { address: "10.1.2.3", local: false };

/** Answers OUTPUT0 = INPUT0 + INPUT1 and OUTPUT1 = INPUT0 - INPUT1, by rows of INT32. */
function addSub(extra: Partial<InferenceBackend> = {}): RestHandler {
  const tensor = (name: string) => ({ name, datatype: "INT32", shape: [-1n, 2n] });
  const backend: Partial<InferenceBackend> = {
    async modelMetadata({ name }) {
      return {
        name,
        versions: ["1", "2"],
        platform: "p",
        inputs: [tensor("INPUT0"), tensor("INPUT1")],
        outputs: [tensor("OUTPUT0"), tensor("OUTPUT1")],
      };
    },
    async modelInfer({ modelName, inputs, rawInputContents }) {
      const ints = (name: string): Int32Array => {
        const raw = rawInputContents[inputs.findIndex((input) => input.name === name)]!;
        return new Int32Array(Uint8Array.from(raw).buffer);
      };
      const [a, b] = [ints("INPUT0"), ints("INPUT1")];
      const { shape } = inputs[0]!;
      return {
        modelName,
        modelVersion: "2",
        outputs: ["OUTPUT0", "OUTPUT1"].map((name) => ({ name, datatype: "INT32", shape })),
        rawOutputContents: [
          new Uint8Array(a.map((value, index) => value + b[index]!).buffer),
          new Uint8Array(a.map((value, index) => value - b[index]!).buffer),
        ],
      };
    },
    ...extra,
  };
  return createRestHandler({
    backend: backend as InferenceBackend,
    probes: { isStarted: () => true, isReady: () => true },
    metrics: async () => ({ contentType: "text/plain", text: "" }),
    maxBodyBytes: 1 << 20,
    maxTimeoutMs: 60_000,
    onInternalError: () => {},
  });
}

async function call(
  handler: RestHandler,
  method: string,
  path: string,
  body: string | Uint8Array = "",
  header: HeadersInit = {},
): Promise<{ status: number; header: Headers; bytes: Buffer; text: string }> {
  const response = await handler({
    httpVersion: "1.1",
    method,
    url: `http://host${path}`,
    header: new Headers(header),
    body: (async function* () {
      yield Buffer.from(body);
    })(),
    signal: new AbortController().signal,
    contextValues: createContextValues().set(peerKey, peer),
  });
  if (!response) return { status: 0, header: new Headers(), bytes: Buffer.alloc(0), text: "" };
  const parts: Uint8Array[] = [];
  for await (const part of response.body ?? []) parts.push(part);
  const bytes = Buffer.concat(parts);
  return {
    status: response.status,
    header: response.header ?? new Headers(),
    bytes,
    text: bytes.toString(),
  };
}

const infer = "/v2/models/m/infer";
const input = (fields: object): string =>
  JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [2], ...fields }] });

test("an infer request becomes a message with raw contents, and its answer JSON", async (t) => {
  const { handler, requests } = echo();
  const body = JSON.stringify({
    id: "1",
    parameters: { priority: 1, flag: true, note: "n", share: 0.5 },
    inputs: [{ name: "x", datatype: "FP32", shape: [2], data: [1, "NaN"], parameters: { p: 3 } }],
    outputs: [{ name: "x", parameters: { classification: 2 } }],
  });
  const { status, text } = await call(handler, "POST", "/v2/models/m/versions/4/infer", body);
  t.is(status, 200, text);
  t.is(
    text,
    '{"model_name":"m","model_version":"1","id":"1","outputs":[{"name":"x","datatype":"FP32","shape":[2],"data":[1,"NaN"]}]}',
  );
  const [request] = requests;
  t.is(request!.modelVersion, "4");
  t.deepEqual(request!.parameters.priority?.parameterChoice, { case: "int64Param", value: 1n });
  t.deepEqual(request!.parameters.flag?.parameterChoice, { case: "boolParam", value: true });
  t.deepEqual(request!.parameters.note?.parameterChoice, { case: "stringParam", value: "n" });
  t.deepEqual(request!.parameters.share?.parameterChoice, { case: "doubleParam", value: 0.5 });
  t.deepEqual(request!.outputs[0]!.parameters.classification?.parameterChoice, {
    case: "int64Param",
    value: 2n,
  });
  t.deepEqual(
    new Uint8Array(request!.rawInputContents[0]!),
    new Uint8Array(Float32Array.of(1, Number.NaN).buffer),
  );
});

test("binary_data_output makes all outputs binary but those that say otherwise", async (t) => {
  const { handler } = echo();
  const two = [
    { name: "x", datatype: "FP32", shape: [1], data: [1] },
    { name: "y", datatype: "BYTES", shape: [1], data: ["hi"] },
  ];
  const body = JSON.stringify({
    parameters: { binary_data_output: true },
    inputs: two,
    outputs: [{ name: "x", parameters: { binary_data: false } }, { name: "y" }],
  });
  const { header, bytes } = await call(handler, "POST", infer, body);
  const length = Number(header.get("inference-header-content-length"));
  t.deepEqual(JSON.parse(bytes.subarray(0, length).toString()).outputs, [
    { name: "x", datatype: "FP32", shape: [1], data: [1] },
    { name: "y", datatype: "BYTES", shape: [1], parameters: { binary_data_size: 6 } },
  ]);
  t.deepEqual([...bytes.subarray(length)], [2, 0, 0, 0, 104, 105]);
});

const cases: readonly (readonly [
  string,
  string | Uint8Array,
  Record<string, string>,
  number,
  RegExp,
])[] = [
  ["no JSON", "{", {}, 400, /the body is not JSON/],
  ["bytes that are not UTF-8", Uint8Array.of(0xff), {}, 400, /the body is not JSON/],
  ["an array", "[]", {}, 400, /the body must be a JSON object/],
  ["inputs that are no array", '{"inputs":{}}', {}, 400, /"inputs" of the body must be an array/],
  [
    "an input without a name",
    '{"inputs":[{"datatype":"FP32"}]}',
    {},
    400,
    /"name" of an input must be a string/,
  ],
  ["an unknown datatype", input({ datatype: "FLOAT", data: [] }), {}, 400, /got datatype "FLOAT"/],
  ["a shape that is none", input({ shape: [-1], data: [] }), {}, 400, /got shape \[-1\]/],
  ["neither data nor binary", input({}), {}, 400, /neither data nor binary_data_size/],
  [
    "data and binary",
    input({ data: [1, 2], parameters: { binary_data_size: 8 } }),
    {},
    400,
    /has data and binary_data_size/,
  ],
  [
    "binary past the end",
    input({ parameters: { binary_data_size: 8 } }),
    {},
    400,
    /binary_data_size of input "x" is 8, and 0 bytes are left/,
  ],
  [
    "a JSON length past the end",
    "{}",
    { "inference-header-content-length": "99" },
    400,
    /is "99", the body has 2 bytes/,
  ],
  [
    "bytes left over",
    "{}xyz",
    { "inference-header-content-length": "2" },
    400,
    /3 bytes are left behind the inputs/,
  ],
  ["a parameter that is an object", '{"parameters":{"a":{}}}', {}, 400, /parameter "a" must be/],
  [
    "a body above the limit",
    "x".repeat(1001),
    {},
    413,
    /the limit is 1000 bytes; send less, or raise --max-message-size/,
  ],
  ["a declared length above the limit", "", { "content-length": "2000" }, 413, /got 2000 bytes/],
  [
    "a body that unpacks above the limit",
    gzipSync("x".repeat(5000)),
    { "content-encoding": "gzip" },
    413,
    /decompresses to more than 1000 bytes/,
  ],
  ["a broken encoding", "no gzip", { "content-encoding": "gzip" }, 400, /the body is not gzip/],
  [
    "an unknown encoding",
    "{}",
    { "content-encoding": "zip" },
    415,
    /"zip", expected one of gzip, deflate, br/,
  ],
];
for (const [name, body, header, status, message] of cases) {
  test(`${name} is refused with ${status}`, async (t) => {
    const answer = await call(echo().handler, "POST", infer, body, header);
    t.is(answer.status, status, answer.text);
    t.regex(JSON.parse(answer.text).error, message);
  });
}

test("a gzip body is read", async (t) => {
  const { status } = await call(echo().handler, "POST", infer, gzipSync(input({ data: [1, 2] })), {
    "content-encoding": "gzip",
  });
  t.is(status, 200);
});

test("a failure that is ours is 500 without its cause", async (t) => {
  const { status, text } = await call(
    echo().handler,
    "POST",
    "/v2/models/broken/infer",
    input({ data: [1, 2] }),
  );
  t.is(status, 500);
  t.false(text.includes("secret"));
  t.is(JSON.parse(text).reason, "INTERNAL");
});

test("v1 rows are bare for one input and objects for several, and go back likewise", async (t) => {
  const one = await call(
    echo().handler,
    "POST",
    "/v1/models/m:predict",
    '{"instances":[[1,2],[3,4]]}',
  );
  t.is(one.text, '{"predictions":[[1,2],[3,4]]}');
  const two = echo([
    { name: "a", datatype: "INT64" },
    { name: "b", datatype: "BYTES" },
  ]);
  const several = await call(
    two.handler,
    "POST",
    "/v1/models/m:predict",
    '{"instances":[{"a":1,"b":"x"},{"b":"y","a":9007199254740993}]}',
  );
  t.is(several.text, '{"predictions":[{"a":1,"b":"x"},{"a":9007199254740993,"b":"y"}]}');
  const columns = await call(
    two.handler,
    "POST",
    "/v1/models/m:predict",
    '{"inputs":{"a":[1,2],"b":["x","y"]}}',
  );
  t.is(columns.text, '{"outputs":{"a":[1,2],"b":["x","y"]}}');
});

for (const [body, message] of [
  ["{}", /either "instances", a list of rows, or "inputs"/],
  ['{"instances":1}', /"instances" must be a list/],
  ['{"instances":[{"q":1}]}', /no input "q"/],
  ['{"instances":[[1,2],[3]]}', /dimension 1/],
  ['{"instances":["a"]}', /a number/],
] as const) {
  test(`v1 refuses ${body}`, async (t) => {
    const { status, text } = await call(echo().handler, "POST", "/v1/models/m:predict", body);
    t.is(status, 400);
    t.regex(JSON.parse(text).error, message);
  });
}

test("the caller's address and parameters reach the backend", async (t) => {
  const { handler, loads, peers } = echo();
  const { text } = await call(
    handler,
    "POST",
    "/v2/repository/models/m/load",
    '{"parameters":{"config":{"maxBatchSize":3}}}',
  );
  t.deepEqual(JSON.parse(text), { name: "m", load: true });
  t.deepEqual(loads[0]!.parameters.config?.parameterChoice, {
    case: "stringParam",
    value: '{"maxBatchSize":3}',
  });
  t.deepEqual(peers, [peer]);
});

test("a wrong method is 405 with those that are right, and an unknown path is left to others", async (t) => {
  const { handler } = echo();
  const { status, header } = await call(handler, "DELETE", "/v2/models/m");
  t.is(status, 405);
  t.is(header.get("allow"), "GET, HEAD");
  t.is((await call(handler, "GET", "/v2/nothing")).status, 0);
  t.is((await call(handler, "GET", "/index.html")).status, 0);
});

test("what the backend does not serve is 501", async (t) => {
  const { status, text } = await call(echo().handler, "GET", "/v2/cudasharedmemory/status");
  t.is(status, 501);
  t.is(JSON.parse(text).reason, "RPC_UNSUPPORTED");
});

test("probes follow readiness", async (t) => {
  const state = echo();
  t.is((await call(state.handler, "GET", "/health/ready")).status, 200);
  state.ready = false;
  for (const path of ["/health/ready", "/v2/health/ready", "/v2/models/m/ready", "/v1/models/m"])
    t.is((await call(state.handler, "GET", path)).status, 503, path);
  t.is((await call(state.handler, "GET", "/health/live")).status, 200);
});

test("the metadata of a model is answered with its shapes as numbers", async (t) => {
  const { text } = await call(addSub(), "GET", "/v2/models/m/versions/2");
  t.deepEqual(JSON.parse(text), {
    name: "m",
    versions: ["1", "2"],
    platform: "p",
    inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [-1, 2] })),
    outputs: ["OUTPUT0", "OUTPUT1"].map((name) => ({ name, datatype: "INT32", shape: [-1, 2] })),
  });
});

test("a model with two inputs is inferred from flat, nested and binary data at once", async (t) => {
  const head = JSON.stringify({
    inputs: [
      {
        name: "INPUT0",
        datatype: "INT32",
        shape: [2, 2],
        data: [
          [1, 2],
          [3, 4],
        ],
      },
      { name: "INPUT1", datatype: "INT32", shape: [2, 2], parameters: { binary_data_size: 16 } },
    ],
    outputs: [{ name: "OUTPUT0" }, { name: "OUTPUT1", parameters: { binary_data: true } }],
  });
  const body = Buffer.concat([
    Buffer.from(head),
    new Uint8Array(Int32Array.of(10, 20, 30, 40).buffer),
  ]);
  const { header, bytes } = await call(addSub(), "POST", "/v2/models/m/infer", body, {
    "inference-header-content-length": `${head.length}`,
  });
  const length = Number(header.get("inference-header-content-length"));
  t.is(header.get("content-type"), "application/octet-stream");
  t.is(header.get("content-length"), `${bytes.byteLength}`);
  t.deepEqual(JSON.parse(bytes.subarray(0, length).toString()).outputs[0].data, [11, 22, 33, 44]);
  t.deepEqual(
    [...new Int32Array(Uint8Array.from(bytes.subarray(length)).buffer)],
    [-9, -18, -27, -36],
  );
});

test("v1 rows and columns of a model with two outputs go back by their names", async (t) => {
  const rows = '{"instances":[{"INPUT0":[1,2],"INPUT1":[1,1]},{"INPUT0":[3,4],"INPUT1":[0,9]}]}';
  t.is(
    (await call(addSub(), "POST", "/v1/models/m:predict", rows)).text,
    '{"predictions":[{"OUTPUT0":[2,3],"OUTPUT1":[0,1]},{"OUTPUT0":[3,13],"OUTPUT1":[3,-5]}]}',
  );
  const columns = '{"inputs":{"INPUT0":[[1,2],[3,4]],"INPUT1":[[1,1],[0,9]]}}';
  t.is(
    (await call(addSub(), "POST", "/v1/models/m:predict", columns)).text,
    '{"outputs":{"OUTPUT0":[[2,3],[3,13]],"OUTPUT1":[[0,1],[3,-5]]}}',
  );
});

const oneOutput = (shape: readonly bigint[], values: Float32Array): RestHandler =>
  addSub({
    modelMetadata: async ({ name }) => ({
      name,
      inputs: [{ name: "x", datatype: "FP32", shape: [-1n] }],
    }),
    modelInfer: async () => ({
      outputs: [{ name: "y", datatype: "FP32", shape: [...shape] }],
      rawOutputContents: [new Uint8Array(values.buffer)],
    }),
  });

test("v1 refuses rows for an output that is not made of as many, and gives it in columns", async (t) => {
  for (const [shape, values, text] of [
    [[], Float32Array.of(7), '{"outputs":7}'],
    [[3n], Float32Array.of(1, 2, 3), '{"outputs":[1,2,3]}'],
    [[2n, 0n, 3n], new Float32Array(), '{"outputs":[[],[]]}'],
  ] as const) {
    const handler = oneOutput(shape, values);
    const path = "/v1/models/m:predict";
    const rows = await call(handler, "POST", path, '{"instances":[1]}');
    t.is(rows.status, 400);
    t.regex(rows.text, /not a row for each of 1 instances; send \\"inputs\\"/);
    t.is((await call(handler, "POST", path, '{"inputs":[1]}')).text, text);
  }
});

for (const [name, body, message] of [
  ["no rows", '{"instances":[]}', /"instances" has no rows/],
  ["an input in some rows", '{"instances":[{"INPUT0":[1,2]},{"INPUT1":[1,2]}]}', /in 1 of 2 rows/],
  ["a bare row for two inputs", '{"instances":[[1,2]]}', /row 0 of "instances" must be a JSON/],
  ["a bare tensor for two inputs", '{"inputs":[[1,2]]}', /missing \["INPUT0", "INPUT1"\]/],
  ["both forms", '{"instances":[1],"inputs":[1]}', /either "instances", a list of rows/],
] as const) {
  test(`v1 refuses ${name}`, async (t) => {
    const { status, text } = await call(addSub(), "POST", "/v1/models/m:predict", body);
    t.is(status, 400, text);
    t.regex(JSON.parse(text).error, message);
  });
}

test(":explain is 501 with the model's name", async (t) => {
  const { status, text } = await call(addSub(), "POST", "/v1/models/a%20b:explain", "{}");
  t.is(status, 501);
  t.is(JSON.parse(text).reason, "RPC_UNSUPPORTED");
  t.is(JSON.parse(text).metadata.model, "a b");
});

test("a caller that leaves while its body is read is told so, and no failure is logged", async (t) => {
  const failures: unknown[] = [];
  const handler = createRestHandler({
    backend: {} as InferenceBackend,
    probes: { isStarted: () => true, isReady: () => true },
    metrics: async () => ({ contentType: "text/plain", text: "" }),
    maxBodyBytes: 1000,
    maxTimeoutMs: 60_000,
    onInternalError: (error) => failures.push(error),
  });
  const response = await handler({
    httpVersion: "1.1",
    method: "POST",
    url: `http://host${infer}`,
    header: new Headers(),
    body: (async function* () {
      yield Buffer.from("{");
      throw new PeerGoneError();
    })(),
    signal: new AbortController().signal,
    contextValues: createContextValues(),
  });
  t.is(response?.status, 499);
  t.deepEqual(failures, []);
});

test("what a backend throws once its caller has left is a cancelled call", async (t) => {
  const abort = new AbortController();
  const failures: unknown[] = [];
  const handler = createRestHandler({
    backend: {
      modelInfer: async () => {
        abort.abort(new PeerGoneError());
        throw new Error("the connection is gone");
      },
    } as Partial<InferenceBackend> as InferenceBackend,
    probes: { isStarted: () => true, isReady: () => true },
    metrics: async () => ({ contentType: "text/plain", text: "" }),
    maxBodyBytes: 1000,
    maxTimeoutMs: 60_000,
    onInternalError: (error) => failures.push(error),
  });
  const response = await handler({
    httpVersion: "1.1",
    method: "POST",
    url: `http://host${infer}`,
    header: new Headers(),
    body: (async function* () {
      yield Buffer.from("{}");
    })(),
    signal: abort.signal,
    contextValues: createContextValues(),
  });
  t.is(response?.status, 499);
  t.deepEqual(failures, []);
});

test("a long answer is compressed for a caller that takes gzip, and HEAD tells its length", async (t) => {
  const data = Array.from({ length: 400 }, (_, index) => index);
  const body = `{"inputs":[${["INPUT0", "INPUT1"].map((name) => JSON.stringify({ name, datatype: "INT32", shape: [200, 2], data })).join(",")}]}`;
  const plain = await call(addSub(), "POST", infer, body);
  const packed = await call(addSub(), "POST", infer, body, { "accept-encoding": "gzip" });
  t.is(packed.header.get("content-encoding"), "gzip");
  t.is(packed.header.get("content-length"), `${packed.bytes.byteLength}`);
  t.true(packed.bytes.byteLength < plain.bytes.byteLength);
  t.is(gunzipSync(packed.bytes).toString(), plain.text);
  const head = await call(addSub(), "HEAD", "/v2/models/m");
  const get = await call(addSub(), "GET", "/v2/models/m");
  t.is(head.status, 200);
  t.is(head.header.get("content-length"), get.header.get("content-length"));
});

test("a refused encoding is answered with those that are taken", async (t) => {
  const { header } = await call(addSub(), "POST", infer, "{}", { "content-encoding": "zip" });
  t.is(header.get("accept-encoding"), "gzip, deflate, br, zstd");
});

test("a configuration given as an object keeps its large integers, as protobuf's JSON has them", async (t) => {
  const { handler, loads } = echo();
  const body = '{"parameters":{"config":{"dims":[9007199254740993]},"count":3,"flag":true}}';
  const { status, text } = await call(handler, "POST", "/v2/repository/models/m/load", body);
  t.is(status, 200, text);
  t.deepEqual(
    Object.fromEntries(
      Object.entries(loads[0]!.parameters).map(([key, { parameterChoice }]) => [
        key,
        parameterChoice.value,
      ]),
    ),
    { config: '{"dims":["9007199254740993"]}', count: 3n, flag: true },
  );
});

test("a file of a model comes in base64, and what is none is refused by name", async (t) => {
  const { handler, loads } = echo();
  const path = "/v2/repository/models/m/load";
  const bytes = Buffer.from([0, 1, 254, 255]);
  const body = JSON.stringify({ parameters: { "file:1/a": bytes.toString("base64") } });
  t.is((await call(handler, "POST", path, body)).status, 200);
  const { parameterChoice } = loads[0]!.parameters["file:1/a"]!;
  t.is(parameterChoice.case, "bytesParam");
  t.deepEqual(Buffer.from(parameterChoice.value as Uint8Array), bytes);
  for (const wrong of ['{"parameters":{"file:1/a":3}}', '{"parameters":{"file:1/a":"a b"}}']) {
    const { status, text } = await call(handler, "POST", path, wrong);
    t.is(status, 400);
    t.regex(text, /file:1\/a.*base64/);
  }
  t.is(loads.length, 1);
});

test("an index is asked for with a boolean", async (t) => {
  const path = "/v2/repository/index";
  const asked: boolean[] = [];
  const handler = addSub({
    repositoryIndex: async ({ ready }) => {
      asked.push(ready);
      return { models: [{ name: "m", version: "1", state: "READY", reason: "" }] };
    },
  });
  t.is((await call(handler, "POST", path, '{"ready":"yes"}')).status, 400);
  t.is(
    (await call(handler, "POST", path, '{"ready":true}')).text,
    '[{"name":"m","version":"1","state":"READY","reason":""}]',
  );
  t.is((await call(handler, "POST", path)).status, 200);
  t.deepEqual(asked, [true, false]);
});

test("statistics are numbers", async (t) => {
  const handler = addSub({
    modelStatistics: async ({ name, version }) => ({
      modelStats: [{ name, version, inferenceCount: 5n }],
    }),
  });
  const { text } = await call(handler, "GET", "/v2/models/m/versions/2/stats");
  const [stats] = JSON.parse(text).model_stats;
  t.is(stats.inference_count, 5);
  t.is(stats.version, "2");
});
