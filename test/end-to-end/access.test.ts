import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Code, ConnectError, createClient, type Transport } from "@connectrpc/connect";
import {
  createGrpcTransport,
  createConnectTransport as nodeConnect,
  createGrpcWebTransport as nodeGrpcWeb,
} from "@connectrpc/connect-node";
import { type ServiceError, status } from "@grpc/grpc-js";
import test, { type ExecutionContext } from "ava";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import { createAccessKey, hashAccessKey } from "../../server/access/access-key.ts";
import { type RunningServer, startServer } from "../support/command.ts";
import { fp32Request, type GrpcJsClient, grpcJsClient } from "../support/grpc-js-client.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const fixtures = fileURLToPath(new URL("../fixtures/models", import.meta.url));
const service = "inference.GRPCInferenceService";

const keys = {
  /** May call models whose names begin with sc. */
  infer: createAccessKey(),
  read: createAccessKey(),
  control: createAccessKey(),
  /** May do all, for one model. */
  one: createAccessKey(),
};

function entry(name: string, key: string, permissions: string, models = '["*"]'): string {
  return `- { name: ${name}, sha256: "${hashAccessKey(key)}", permissions: [${permissions}], models: ${models} }\n`;
}

const accessFile =
  entry("caller", keys.infer, "infer", '["sc*"]') +
  entry("reader", keys.read, "read") +
  entry("deployer", keys.control, "control") +
  entry("owner", keys.one, "infer, read, control", "[fixed]");

async function startWithKeys(
  t: ExecutionContext,
  ...flags: readonly string[]
): Promise<RunningServer & { readonly file: string }> {
  const folder = await temporaryFolder(t, { "keys.yaml": accessFile });
  const file = join(folder, "keys.yaml");
  return { ...(await startServer(t, [fixtures, "--api-keys", file, ...flags])), file };
}

function connect(t: ExecutionContext, { address }: RunningServer, key?: string): GrpcJsClient {
  const caller = key === undefined ? {} : { metadata: { authorization: `Bearer ${key}` } };
  const client = grpcJsClient(address, service, {}, caller);
  t.teardown(() => client.close());
  return client;
}

/** The status of a call over gRPC and its reason. */
async function outcome(answer: Promise<unknown>): Promise<string> {
  try {
    await answer;
    return "OK";
  } catch (thrown) {
    const { code, metadata } = thrown as ServiceError;
    const details = String(metadata.get("grpc-status-details-bin")[0]);
    const reason = /[A-Z]+(_[A-Z]+)+/.exec(details)?.[0];
    return `${status[code]} ${reason}`;
  }
}

const scalar = fp32Request("scalar", "x", [], Float32Array.of(2));
const scalarJson = { inputs: [{ name: "x", datatype: "FP32", shape: [], data: [2] }] };

function bearer(key: string | undefined): Record<string, string> {
  return key === undefined ? {} : { authorization: `Bearer ${key}` };
}

test("each permission allows its calls and no others, over gRPC and REST alike", async (t) => {
  const server = await startWithKeys(t);
  const callers = { none: undefined, wrong: "tw_wrong", ...keys };
  const rows: Record<string, readonly [string, object, string, string, object?]> = {
    infer: ["ModelInfer", scalar, "POST", "/v2/models/scalar/infer", scalarJson],
    v1: ["ModelInfer", scalar, "POST", "/v1/models/scalar:predict", { inputs: 2 }],
    metadata: ["ModelMetadata", { name: "fixed" }, "GET", "/v2/models/fixed"],
    ready: ["ModelReady", { name: "fixed" }, "GET", "/v2/models/fixed/ready"],
    index: ["RepositoryIndex", {}, "POST", "/v2/repository/index", {}],
    server: ["ServerMetadata", {}, "GET", "/v2"],
    load: [
      "RepositoryModelLoad",
      { model_name: "fixed" },
      "POST",
      "/v2/repository/models/fixed/load",
    ],
    live: ["ServerLive", {}, "GET", "/v2/health/live"],
    probe: ["ServerReady", {}, "GET", "/v2/health/ready"],
  };
  const grpc: Record<string, Record<string, string>> = {};
  const rest: Record<string, Record<string, number>> = {};
  for (const [caller, key] of Object.entries(callers)) {
    const client = connect(t, server, key);
    grpc[caller] = {};
    rest[caller] = {};
    for (const [row, [rpc, request, method, path, body]] of Object.entries(rows)) {
      grpc[caller][row] = await outcome(client.call(rpc, request as never));
      const response = await fetch(server.url + path, {
        method,
        headers: bearer(key),
        ...(body ? { body: JSON.stringify(body) } : {}),
      });
      rest[caller][row] = response.status;
      t.is(response.headers.has("www-authenticate"), response.status === 401);
      await response.arrayBuffer();
    }
  }
  const all = (value: string): Record<string, string> => ({
    ...Object.fromEntries(Object.keys(rows).map((row) => [row, value])),
    live: "OK",
    probe: "OK",
  });
  const denied = all("PERMISSION_DENIED PERMISSION_MISSING");
  const reads = { metadata: "OK", ready: "OK", index: "OK", server: "OK" };
  t.deepEqual(grpc, {
    none: all("UNAUTHENTICATED CREDENTIALS_MISSING"),
    wrong: all("UNAUTHENTICATED CREDENTIALS_INVALID"),
    infer: { ...denied, infer: "OK", v1: "OK" },
    read: { ...denied, ...reads },
    control: { ...denied, load: "OK" },
    one: {
      ...all("OK"),
      infer: "PERMISSION_DENIED MODEL_FORBIDDEN",
      v1: "PERMISSION_DENIED MODEL_FORBIDDEN",
    },
  });
  const statusOf = (text: string): number =>
    text === "OK" ? 200 : text.startsWith("UNAUTHENTICATED") ? 401 : 403;
  for (const [caller, outcomes] of Object.entries(grpc)) {
    const expected = Object.entries(outcomes).map(([row, text]) => [row, statusOf(text)]);
    t.deepEqual(rest[caller], Object.fromEntries(expected), caller);
  }
});

test("gRPC-Web and Connect refuse and allow as gRPC does; Connect answers 401 with a challenge", async (t) => {
  const server = await startWithKeys(t);
  const baseUrl = server.url;
  const withKey = (key: string) => (next: never) => (request: { header: Headers }) => {
    request.header.set("x-api-key", key);
    return (next as (request: unknown) => never)(request);
  };
  for (const make of [
    (interceptors: never[]): Transport => createGrpcTransport({ baseUrl, interceptors }),
    (interceptors: never[]): Transport =>
      nodeGrpcWeb({ baseUrl, httpVersion: "1.1", interceptors }),
    (interceptors: never[]): Transport =>
      nodeConnect({ baseUrl, httpVersion: "1.1", interceptors }),
    (interceptors: never[]): Transport =>
      nodeConnect({ baseUrl, httpVersion: "2", useBinaryFormat: false, interceptors }),
  ]) {
    const client = (key?: string) =>
      createClient(GRPCInferenceService, make(key === undefined ? [] : [withKey(key) as never]));
    const request = { modelName: "scalar", inputs: [{ name: "x", datatype: "FP32", shape: [] }] };
    const infer = (key?: string) =>
      client(key).modelInfer({
        ...request,
        rawInputContents: [new Uint8Array(Float32Array.of(2).buffer)],
      });
    t.is((await infer(keys.infer)).modelName, "scalar");
    for (const [key, code] of [
      [undefined, Code.Unauthenticated],
      ["tw_wrong", Code.Unauthenticated],
      [keys.read, Code.PermissionDenied],
      [keys.one, Code.PermissionDenied],
    ] as const) {
      const error = await t.throwsAsync(infer(key), { instanceOf: ConnectError });
      t.is(error?.code, code);
    }
  }
  const response = await fetch(`${baseUrl}/${service}/ModelReady`, {
    method: "POST",
    headers: { "content-type": "application/json", "connect-protocol-version": "1" },
    body: "{}",
  });
  t.is(response.status, 401);
  t.is(response.headers.get("www-authenticate"), 'Bearer realm="tensorwire"');
});
