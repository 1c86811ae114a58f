import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import type { Permission } from "../access/permissions.ts";
import { matchRoute } from "./rest/route.ts";

/**
 * What a call asks of its caller: a permission; `open` is nothing, `any` credentials that are good,
 * while its message says which permission.
 */
export type Need = Permission | "open" | "any";

/** Needs of every method; one that is new does not compile without. */
const methodNeeds: Readonly<Record<keyof typeof GRPCInferenceService.method, Need>> = {
  serverLive: "open",
  serverReady: "open",
  modelReady: "read",
  serverMetadata: "read",
  modelMetadata: "read",
  modelInfer: "infer",
  modelStreamInfer: "infer",
  modelConfig: "read",
  modelStatistics: "read",
  repositoryIndex: "read",
  repositoryModelLoad: "control",
  repositoryModelUnload: "control",
  systemSharedMemoryStatus: "read",
  systemSharedMemoryRegister: "control",
  systemSharedMemoryUnregister: "control",
  cudaSharedMemoryStatus: "read",
  cudaSharedMemoryRegister: "control",
  cudaSharedMemoryUnregister: "control",
  traceSetting: "any",
  logSettings: "any",
};

/** Needs by path: `/inference.GRPCInferenceService/ModelInfer`. */
export const needsOfInference: ReadonlyMap<string, Need> = new Map(
  Object.entries(GRPCInferenceService.method).map(([key, { name }]) => [
    `/${GRPCInferenceService.typeName}/${name}`,
    methodNeeds[key as keyof typeof methodNeeds],
  ]),
);

/** A call as access control and its log see it. */
export interface CallNeed {
  readonly need: Need;
  /** `RepositoryModelLoad`, or a REST route such as `/v2/repository/models/M/load`. */
  readonly call: string;
  /** Model in the path of a REST call. */
  readonly model: string | undefined;
}

/**
 * Says what a request asks of its caller. What is not known here needs `control`, but for GET and HEAD
 * of paths that are no call: those are the static files, which are open.
 *
 * @param metrics - what `/metrics` needs
 */
export function needOfRequest(method: string, path: string, metrics: Need): CallNeed {
  const rpc = rpcPath.exec(path);
  if (rpc) {
    const [, service, name] = rpc as unknown as [string, string, string];
    return { need: needOfRpc(path, service), call: name, model: undefined };
  }
  const match = matchRoute(path);
  if (match) {
    const { route, model } = match;
    const need = route === "/metrics" ? metrics : needOfRoute(method, route);
    return { need, call: route, model: model || undefined };
  }
  const isFile = method === "GET" || method === "HEAD";
  return { need: isFile ? "open" : "control", call: path, model: undefined };
}

/** `/package.Service/Method` */
const rpcPath = /^\/((?:\w+\.)+\w+)\/(\w+)$/;

function needOfRpc(path: string, service: string): Need {
  const need = needsOfInference.get(path);
  if (need !== undefined) return need;
  if (service === "grpc.health.v1.Health") return "open";
  return service.startsWith("grpc.reflection.") ? "read" : "control";
}

/** A verb behind a model of v1, or the last part of a path of v2 or of OpenAI's API. */
const inferRoute = /(:predict|:explain|\/infer|\/generate|\/generate_stream|\/completions)$/;
const controlRoute = /\/(load|unload|register|unregister)$/;

function needOfRoute(method: string, route: string): Need {
  if (route.startsWith("/health/") || route.startsWith("/v2/health/")) return "open";
  if (inferRoute.test(route)) return "infer";
  if (controlRoute.test(route)) return "control";
  if (method === "GET" || method === "HEAD") return "read";
  return route === "/v2/repository/index" ? "read" : "control";
}
