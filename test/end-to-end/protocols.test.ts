import { connect as connectHttp2 } from "node:http2";
import { fileURLToPath } from "node:url";
import { createClient, type Transport } from "@connectrpc/connect";
import {
  createGrpcTransport,
  createConnectTransport as nodeConnect,
  createGrpcWebTransport as nodeGrpcWeb,
} from "@connectrpc/connect-node";
import {
  createConnectTransport as webConnect,
  createGrpcWebTransport as webGrpcWeb,
} from "@connectrpc/connect-web";
import test from "ava";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import { type RunningServer, startServer } from "../support/command.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));

let server: RunningServer;
const teardowns: (() => void | Promise<void>)[] = [];
test.before(async () => {
  server = await startServer({ teardown: (end) => teardowns.push(end as () => void) }, [
    fixtures,
    "--cors-origins",
    "https://app.example",
  ]);
});
test.after.always(async () => {
  for (const end of teardowns) await end();
});

const transports: readonly (readonly [string, () => Transport])[] = [
  ["gRPC", () => createGrpcTransport({ baseUrl: server.url })],
  ["gRPC-Web over HTTP/1.1", () => nodeGrpcWeb({ baseUrl: server.url, httpVersion: "1.1" })],
  ["gRPC-Web over HTTP/2", () => nodeGrpcWeb({ baseUrl: server.url, httpVersion: "2" })],
  ["gRPC-Web over fetch", () => webGrpcWeb({ baseUrl: server.url })],
  ["Connect over HTTP/1.1", () => nodeConnect({ baseUrl: server.url, httpVersion: "1.1" })],
  ["Connect over HTTP/2", () => nodeConnect({ baseUrl: server.url, httpVersion: "2" })],
  ["Connect over fetch", () => webConnect({ baseUrl: server.url })],
  ["Connect with JSON", () => webConnect({ baseUrl: server.url, useBinaryFormat: false })],
];

for (const [name, make] of transports) {
  test(`${name} gives the same answer and the same error`, async (t) => {
    const client = createClient(GRPCInferenceService, make());
    const x = { name: "x", datatype: "FP32", shape: [2n] };
    const rawInputContents = [new Uint8Array(Float32Array.of(1, 2).buffer)];
    const answer = await client.modelInfer({
      modelName: "versions",
      id: "p",
      inputs: [x],
      rawInputContents,
    });
    t.is(answer.modelVersion, "3");
    t.is(answer.id, "p");
    t.deepEqual([...new Float32Array(new Uint8Array(answer.rawOutputContents[0]!).buffer)], [4, 5]);
    const error = await t.throwsAsync(
      client.modelInfer({
        modelName: "versions",
        modelVersion: "2",
        inputs: [x],
        rawInputContents,
      }),
    );
    t.regex(error?.message ?? "", /model "versions" has no version "2" loaded; loaded are 1, 3/);
  });
}

async function post(
  path: string,
  body: unknown,
  headers: Record<string, string> = {},
): Promise<Response> {
  return fetch(server.url + path, {
    method: "POST",
    body:
      typeof body === "string" || body instanceof Uint8Array
        ? (body as string)
        : JSON.stringify(body),
    headers,
  });
}

test("REST v2 answers JSON, and refuses with the reason of the registry", async (t) => {
  const input = { name: "x", datatype: "INT64", shape: [1, 2], data: ["unset", 1] as unknown[] };
  const big = 2n ** 62n + 1n;
  const body = `{"id":"r","inputs":[{"name":"x","datatype":"INT64","shape":[1,2],"data":[[${big},-1]]}]}`;
  const response = await post("/v2/models/identity_int64/infer", body);
  t.is(response.status, 200);
  t.is(
    await response.text(),
    `{"model_name":"identity_int64","model_version":"1","id":"r","outputs":[{"name":"y","datatype":"INT64","shape":[1,2],"data":[${big},-1]}]}`,
  );
  const refused = await post("/v2/models/identity_int64/infer", { inputs: [input] });
  t.is(refused.status, 400);
  const error = (await refused.json()) as { reason: string; code: string; error: string };
  t.is(error.reason, "TENSOR_VALUE_INVALID");
  t.is(error.code, "INVALID_ARGUMENT");
  t.regex(error.error, /element 0: got "unset"/);
});

test("REST takes and gives binary tensors", async (t) => {
  const raw = new Uint8Array(Float32Array.of(1.5, -2).buffer);
  const json = Buffer.from(
    JSON.stringify({
      inputs: [{ name: "x", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } }],
      outputs: [{ name: "y", parameters: { binary_data: true } }],
    }),
  );
  const response = await post(
    "/v2/models/identity_fp32/infer",
    new Uint8Array(Buffer.concat([json, raw])),
    { "inference-header-content-length": String(json.byteLength) },
  );
  t.is(response.status, 200);
  const length = Number(response.headers.get("inference-header-content-length"));
  const bytes = new Uint8Array(await response.arrayBuffer());
  const head = JSON.parse(Buffer.from(bytes.subarray(0, length)).toString()) as {
    outputs: unknown[];
  };
  t.deepEqual(head.outputs, [
    { name: "y", datatype: "FP32", shape: [1, 2], parameters: { binary_data_size: 8 } },
  ]);
  t.deepEqual(bytes.subarray(length), raw);
});

test("probes, metrics and metadata are there", async (t) => {
  for (const path of [
    "/health/live",
    "/health/ready",
    "/health/startup",
    "/v2/health/live",
    "/v2/health/ready",
    "/v2",
    "/v2/models",
    "/v2/models/add_sub",
    "/v2/models/add_sub/config",
    "/v2/models/add_sub/stats",
    "/v1/models",
    "/v1/models/add_sub",
  ]) {
    t.is((await fetch(server.url + path)).status, 200, path);
    t.is((await fetch(server.url + path, { method: "HEAD" })).status, 200, path);
  }
  const metrics = await (await fetch(`${server.url}/metrics`)).text();
  for (const name of [
    "nv_inference_request_success",
    "nv_inference_request_failure",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_pending_request_count",
    "nv_inference_request_duration_us",
    "nv_inference_queue_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_output_duration_us",
    'nv_inference_request_failure{model="add_sub",version="1",reason="REJECTED"} 0',
    ...["request", "queue", "compute_input", "compute", "compute_output"].map(
      (part) => `tensorwire_inference_${part}_duration_seconds_bucket`,
    ),
    "grpc_server_handled_total",
    "tensorwire_open_connections",
  ]) {
    t.true(metrics.includes(name), name);
  }
});

test("pages of the origins that are set may call, others get no header", async (t) => {
  const preflight = (origin: string) =>
    fetch(`${server.url}/inference.GRPCInferenceService/ModelInfer`, {
      method: "OPTIONS",
      headers: {
        origin,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-grpc-web",
      },
    });
  const allowed = await preflight("https://app.example");
  t.is(allowed.status, 204);
  t.is(allowed.headers.get("access-control-allow-origin"), "https://app.example");
  t.regex(allowed.headers.get("access-control-allow-headers") ?? "", /X-Grpc-Web/i);
  t.is((await preflight("https://evil.example")).headers.get("access-control-allow-origin"), null);
});

test("an unknown path is 404 in JSON, and an unknown gRPC service is UNIMPLEMENTED", async (t) => {
  const response = await fetch(`${server.url}/nope`);
  t.is(response.status, 404);
  t.is(((await response.json()) as { reason: string }).reason, "ROUTE_NOT_FOUND");
  const session = connectHttp2(server.url);
  t.teardown(() => session.close());
  const status = await new Promise((resolve) => {
    const stream = session.request({
      ":method": "POST",
      ":path": "/other.Service/Call",
      "content-type": "application/grpc",
      te: "trailers",
    });
    stream.once("response", (headers) => resolve(headers["grpc-status"]));
    stream.end();
  });
  t.is(status, "12");
});
