import test from "ava";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import { needOfRequest } from "../../server/rpc/call-permissions.ts";
import { restRoutes } from "../../server/rpc/rest/rest-handler.ts";

function needOf(method: string, path: string): string {
  return needOfRequest(method, path, "open").need;
}

/** Routes of REST, with names in place of M, V and R, by what they need. */
const expected: Readonly<Record<string, readonly string[]>> = {
  open: [
    "GET /health/live",
    "GET /health/ready",
    "GET /health/startup",
    "GET /metrics",
    "GET /v2/health/live",
    "GET /v2/health/ready",
  ],
  infer: [
    "POST /openai/v1/chat/completions",
    "POST /openai/v1/completions",
    "POST /v2/models/M/generate",
    "POST /v2/models/M/generate_stream",
    "POST /v2/models/M/versions/V/generate",
    "POST /v2/models/M/versions/V/generate_stream",
    "POST /v1/models/M:explain",
    "POST /v1/models/M:predict",
    "POST /v2/models/M/infer",
    "POST /v2/models/M/versions/V/infer",
  ],
  read: [
    "GET /openai/v1/models",
    "GET /openai/v1/models/M",
    "GET /v1/models",
    "GET /v1/models/M",
    "GET /v2",
    "GET /v2/cudasharedmemory/region/R/status",
    "GET /v2/cudasharedmemory/status",
    "GET /v2/logging",
    "GET /v2/models",
    "GET /v2/models/M",
    "GET /v2/models/M/config",
    "GET /v2/models/M/ready",
    "GET /v2/models/M/stats",
    "GET /v2/models/M/trace/setting",
    "GET /v2/models/M/versions/V",
    "GET /v2/models/M/versions/V/config",
    "GET /v2/models/M/versions/V/ready",
    "GET /v2/models/M/versions/V/stats",
    "GET /v2/models/stats",
    "GET /v2/systemsharedmemory/region/R/status",
    "GET /v2/systemsharedmemory/status",
    "GET /v2/trace/setting",
    "POST /v2/repository/index",
  ],
  control: [
    "POST /v2/cudasharedmemory/region/R/register",
    "POST /v2/cudasharedmemory/region/R/unregister",
    "POST /v2/cudasharedmemory/unregister",
    "POST /v2/logging",
    "POST /v2/models/M/trace/setting",
    "POST /v2/repository/models/M/load",
    "POST /v2/repository/models/M/unload",
    "POST /v2/systemsharedmemory/region/R/register",
    "POST /v2/systemsharedmemory/region/R/unregister",
    "POST /v2/systemsharedmemory/unregister",
    "POST /v2/trace/setting",
  ],
};

test("every route of REST needs what docs/access.md says; one that is new is to be added here", (t) => {
  const found: Record<string, string[]> = { open: [], infer: [], read: [], control: [] };
  for (const [route, methods] of restRoutes)
    for (const method of Object.keys(methods))
      found[needOf(method, route)]?.push(`${method} ${route}`);
  for (const list of Object.values(found)) list.sort();
  const sorted = Object.entries(expected).map(([need, routes]) => [need, [...routes].sort()]);
  t.deepEqual(found, Object.fromEntries(sorted));
});

test("names in a path do not change what it needs", (t) => {
  t.is(needOf("POST", "/v2/repository/models/infer/load"), "control");
  t.is(needOf("POST", "/v2/repository/models/infer/unload/"), "control");
  t.is(needOf("GET", "/v2/models/infer"), "read");
  t.is(needOf("GET", "/v2/models/health"), "read");
  t.is(needOf("GET", "/v2/models/M/versions/infer"), "read");
  t.is(needOf("GET", "/v1/models/a%3Apredict"), "read");
  t.is(needOf("GET", "/openai/v1/models/completions"), "read");
  t.is(needOf("POST", "/v2/repository/models/..%2Fhealth%2Flive/load"), "control");
  t.is(needOf("GET", "/v2/systemsharedmemory/region/infer/status"), "read");
});

test("what is not known needs control, but for files", (t) => {
  t.is(needOf("POST", "/v2/models/M/new"), "control");
  t.is(needOf("POST", "/anything"), "control");
  t.is(needOf("GET", "/some.new.v1.Service/Method"), "control");
  t.is(needOf("POST", "/inference.GRPCInferenceService/New"), "control");
  t.is(needOf("GET", "/"), "open");
  t.is(needOf("HEAD", "/assets/page.js"), "open");
});

test("health is open, reflection needs read, and metrics what is set", (t) => {
  t.is(needOf("POST", "/grpc.health.v1.Health/Watch"), "open");
  t.is(needOf("POST", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"), "read");
  t.is(needOf("POST", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"), "read");
  t.is(needOfRequest("GET", "/metrics", "read").need, "read");
  t.is(needOfRequest("GET", "/metrics/", "read").need, "read");
});

test("every method of the inference service is known", (t) => {
  const needs = GRPCInferenceService.methods.map(({ name }) => [
    name,
    needOf("POST", `/${GRPCInferenceService.typeName}/${name}`),
  ]);
  const of = (need: string): unknown[] =>
    needs.filter(([, given]) => given === need).map(([name]) => name);
  t.deepEqual(of("open"), ["ServerLive", "ServerReady"]);
  t.deepEqual(of("infer"), ["ModelInfer", "ModelStreamInfer"]);
  t.deepEqual(of("any"), ["TraceSetting", "LogSettings"]);
  t.deepEqual(of("control"), [
    "RepositoryModelLoad",
    "RepositoryModelUnload",
    "SystemSharedMemoryRegister",
    "SystemSharedMemoryUnregister",
    "CudaSharedMemoryRegister",
    "CudaSharedMemoryUnregister",
  ]);
  t.is(of("read").length, needs.length - 12);
});
