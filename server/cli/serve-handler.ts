import type { UniversalHandlerFn } from "@connectrpc/connect/protocol";
import type { Registry } from "prom-client";
import { Health } from "../../gen/grpc/health/v1/health_pb.ts";
import { GRPCInferenceService } from "../../gen/inference/grpc_service_pb.ts";
import type { AccessControl } from "../access/access-control.ts";
import { messageOf } from "../errors/from-unknown.ts";
import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { SettableLog } from "../observability/logger.ts";
import type { Predictor } from "../predictor/predictor.ts";
import { createAccessGate } from "../rpc/access-gate.ts";
import { CallMetrics } from "../rpc/call-metrics.ts";
import { createConnectHost, pathOf } from "../rpc/connect-host.ts";
import { withControlAudit } from "../rpc/control-audit.ts";
import { withCors } from "../rpc/cors.ts";
import type { DrainGate } from "../rpc/drain-gate.ts";
import { createDrainInterceptor } from "../rpc/drain-streams.ts";
import { createFastInference } from "../rpc/fast-inference.ts";
import type { HealthRegistry } from "../rpc/health-registry.ts";
import { registerHealthService } from "../rpc/health-service.ts";
import type { InferenceBackend } from "../rpc/inference-backend.ts";
import { registerInferenceService } from "../rpc/inference-connect-service.ts";
import { withModelAccess } from "../rpc/model-access.ts";
import { registerReflectionServices } from "../rpc/reflection-service.ts";
import type { RestOptions } from "../rpc/rest/rest-call.ts";
import { errorResponse } from "../rpc/rest/rest-error.ts";
import { createRestHandler } from "../rpc/rest/rest-handler.ts";
import { createStaticFiles, type StaticFiles } from "../rpc/static-files.ts";
import type { FastUnaryMethods } from "../wire/grpc/fast-unary.ts";
import type { MemoryBudget } from "../wire/request-memory.ts";
import { requestMemory } from "./request-memory.ts";
import type { ServeRole } from "./serve-role.ts";
import type { ServeValues } from "./serve-values.ts";

/** Parts that the handler of `tensorwire serve` is made of. */
export interface ServeParts {
  readonly predictor: Predictor;
  /** Asks callers for credentials if it is there. */
  readonly access: AccessControl | undefined;
  readonly health: HealthRegistry;
  readonly gate: DrainGate;
  readonly registry: Registry;
  readonly probes: RestOptions["probes"];
  readonly role: Pick<ServeRole, "backend" | "metrics">;
  readonly log: SettableLog;
}

/** What answers the requests of `tensorwire serve`. */
export interface ServeHandlers {
  /** Takes every request. */
  readonly handler: UniversalHandlerFn;
  /** Takes the unary calls of gRPC before it. */
  readonly fast: FastUnaryMethods;
  /** Room for the messages of both. */
  readonly memory: MemoryBudget;
}

/**
 * Makes what answers every request of `tensorwire serve`: RPCs, REST, then files.
 *
 * @throws TensorwireError `SETTING_INVALID` if the folder of files cannot be read
 */
export async function createServeHandler(
  values: ServeValues,
  parts: ServeParts,
): Promise<ServeHandlers> {
  const { predictor, access, health, gate, registry, probes, role, log } = parts;
  const onInternalError = (error: TensorwireError, where: string): void => {
    log.error({ err: error.cause, where }, "a call failed for a reason that is ours");
  };
  // The predictor knows of its models, the program also of its end.
  const answering: InferenceBackend = {
    ...role.backend(predictor.backend),
    serverReady: async () => ({ ready: probes.isReady() }),
  };
  const audit = log.asStarted();
  const backend = withControlAudit(access ? withModelAccess(answering, access) : answering, audit);
  const accessGate =
    access &&
    createAccessGate({ access, metrics: values["protect-metrics"] ? "read" : "open", log, audit });
  const metrics = new CallMetrics(registry);
  const rest = createRestHandler({
    backend,
    probes,
    metrics: async () => ({ contentType: registry.contentType, text: await role.metrics() }),
    maxBodyBytes: values["max-message-size"],
    maxTimeoutMs: values["max-timeout"],
    onInternalError,
  });
  const files = await openStaticFiles(values["static-dir"]);
  const handler = createConnectHost({
    routes(router) {
      registerInferenceService(router, backend);
      registerHealthService(router, health);
      registerReflectionServices(router, [GRPCInferenceService, Health]);
    },
    maxMessageBytes: values["max-message-size"],
    maxTimeoutMs: values["max-timeout"],
    interceptors: [metrics.interceptor(), createDrainInterceptor(gate.closed)],
    onInternalError,
    async fallback(request) {
      const response = (await rest(request)) ?? (await files?.(request));
      if (response) return response;
      const path = pathOf(request.url);
      return errorResponse(
        new TensorwireError(
          "ROUTE_NOT_FOUND",
          `${request.method} ${path} is not served; ${servedInstead(path)}`,
          { path },
        ),
        path,
      );
    },
  });
  return {
    handler: withCors(values["cors-origins"], gate.wrap(accessGate?.wrap(handler) ?? handler)),
    memory: requestMemory(values),
    fast: createFastInference({
      backend,
      access: accessGate,
      gate,
      metrics,
      maxMessageBytes: values["max-message-size"],
      maxTimeoutMs: values["max-timeout"],
      onInternalError,
    }),
  };
}

/** What a caller of a path that is none may want; `/v1` is KServe's, and most of OpenAI's clients expect theirs there. */
function servedInstead(path: string): string {
  return /^\/v1\/(chat\/)?(completions|embeddings|responses)$/.test(path)
    ? "OpenAI's API is under /openai/v1: docs/generation.md"
    : "docs/rest.md lists what is";
}

async function openStaticFiles(folder: string | undefined): Promise<StaticFiles | undefined> {
  if (folder === undefined) return undefined;
  try {
    return await createStaticFiles(folder);
  } catch (error) {
    throw new TensorwireError(
      "SETTING_INVALID",
      `setting static-dir: ${messageOf(error)}`,
      {},
      { cause: error },
    );
  }
}
