import type { AccessControl } from "../access/access-control.ts";
import type { CallContext } from "./call-context.ts";
import type { InferRequest } from "./infer-messages.ts";
import type { InferenceBackend } from "./inference-backend.ts";

/**
 * A backend that answers for the models that its caller may use. That the caller may make calls of a kind
 * was checked by the gate, before the message was read; here is checked what the message says. Lists are
 * cut to the models that the caller may use.
 *
 * A call that did not come through the gate is refused, unless it is one of liveness and readiness.
 */
export function withModelAccess(
  backend: InferenceBackend,
  access: AccessControl,
): InferenceBackend {
  const check = ({ principal }: CallContext, model: string): void =>
    access.checkModel(principal, model);
  return {
    serverLive: backend.serverLive,
    serverReady: backend.serverReady,
    async serverMetadata(request, context) {
      access.checkPermission(context.principal, "read");
      return backend.serverMetadata(request, context);
    },
    async modelReady(request, context) {
      check(context, request.name);
      return backend.modelReady(request, context);
    },
    async modelMetadata(request, context) {
      check(context, request.name);
      return backend.modelMetadata(request, context);
    },
    async modelConfig(request, context) {
      check(context, request.name);
      return backend.modelConfig(request, context);
    },
    modelInfer(request, context) {
      check(context, request.modelName);
      return backend.modelInfer(request, context);
    },
    modelStreamInfer(requests, context) {
      return backend.modelStreamInfer(checked(requests, context, check), context);
    },
    async modelStatistics(request, context) {
      // Without a name it is a list.
      if (request.name !== "") check(context, request.name);
      const { modelStats } = await backend.modelStatistics(request, context);
      return { modelStats: modelStats?.filter(({ name }) => allows(context, name)) ?? [] };
    },
    async repositoryIndex(request, context) {
      const { models } = await backend.repositoryIndex(request, context);
      return { models: models?.filter(({ name }) => allows(context, name)) ?? [] };
    },
    async repositoryModelLoad(request, context) {
      check(context, controlledModel(request));
      return backend.repositoryModelLoad(request, context);
    },
    async repositoryModelUnload(request, context) {
      const model = controlledModel(request);
      check(context, model);
      const { parameterChoice } = request.parameters.unload_dependents ?? {};
      if (parameterChoice?.case === "boolParam" && parameterChoice.value) {
        access.checkAllModels(context.principal, `unload_dependents of "${model}"`);
      }
      return backend.repositoryModelUnload(request, context);
    },
    async systemSharedMemoryStatus(request, context) {
      access.checkPermission(context.principal, "read");
      return backend.systemSharedMemoryStatus(request, context);
    },
    async systemSharedMemoryRegister(request, context) {
      access.checkPermission(context.principal, "control");
      return backend.systemSharedMemoryRegister(request, context);
    },
    async systemSharedMemoryUnregister(request, context) {
      access.checkPermission(context.principal, "control");
      return backend.systemSharedMemoryUnregister(request, context);
    },
    async cudaSharedMemoryStatus(request, context) {
      access.checkPermission(context.principal, "read");
      return backend.cudaSharedMemoryStatus(request, context);
    },
    async cudaSharedMemoryRegister(request, context) {
      access.checkPermission(context.principal, "control");
      return backend.cudaSharedMemoryRegister(request, context);
    },
    async cudaSharedMemoryUnregister(request, context) {
      access.checkPermission(context.principal, "control");
      return backend.cudaSharedMemoryUnregister(request, context);
    },
    async traceSetting(request, context) {
      access.checkPermission(context.principal, settingPermission(request.settings));
      if (request.modelName !== "") check(context, request.modelName);
      return backend.traceSetting(request, context);
    },
    async logSettings(request, context) {
      access.checkPermission(context.principal, settingPermission(request.settings));
      return backend.logSettings(request, context);
    },
  };
}

function allows({ principal }: CallContext, model: string | undefined): boolean {
  return principal?.models.allows(model ?? "") === true;
}

/** A request for a model that the caller may not use ends the stream with its status. */
async function* checked(
  requests: AsyncIterable<InferRequest>,
  context: CallContext,
  check: (context: CallContext, model: string) => void,
): AsyncIterable<InferRequest> {
  for await (const request of requests) {
    check(context, request.modelName);
    yield request;
  }
}

/** KServe's messages carry the model in field 1, Triton's in field 2 behind the repository. */
export function controlledModel(request: {
  readonly repositoryName: string;
  readonly modelName: string;
}): string {
  return request.modelName || request.repositoryName;
}

/** Calls for trace and log without settings only ask for them. */
export function settingPermission(settings: object): "read" | "control" {
  return Object.keys(settings).length === 0 ? "read" : "control";
}
