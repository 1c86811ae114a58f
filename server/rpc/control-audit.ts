import type { Principal } from "../access/principal.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import type { Log } from "../observability/log.ts";
import type { Peer } from "../wire/peer.ts";
import type { CallContext } from "./call-context.ts";
import type { InferenceBackend } from "./inference-backend.ts";
import { controlledModel, settingPermission } from "./model-access.ts";

/** A call that changes what the server does, and who made it. */
export interface ControlCall {
  /** `RepositoryModelLoad`, or a REST route. */
  readonly call: string;
  readonly model: string | undefined;
  readonly principal: Principal | undefined;
  readonly peer: Peer;
}

/**
 * Writes the line of the audit log for a call of control: who, what, which model, from where, and how it
 * went.
 *
 * @param thrown - why it failed; `undefined` if it did not
 */
export function auditControl(log: Log, control: ControlCall, thrown?: unknown): void {
  const { call, model, principal, peer } = control;
  const error = thrown === undefined ? undefined : fromUnknown(thrown);
  const fields = {
    audit: "control",
    call,
    model: model ?? null,
    principal: principal?.name ?? error?.metadata.principal ?? null,
    credential: principal?.credential ?? null,
    peer: peer.address,
    outcome: error?.reason ?? "OK",
  };
  if (error) log.warn(fields, "control call");
  else log.info(fields, "control call");
}

/** A backend that writes a line into the audit log for each call that changes what the server does. */
export function withControlAudit(backend: InferenceBackend, log: Log): InferenceBackend {
  const audited =
    <Request, Answer>(
      call: string,
      answer: (request: Request, context: CallContext) => Promise<Answer>,
      modelOf: (request: Request) => string | undefined = () => undefined,
    ): ((request: Request, context: CallContext) => Promise<Answer>) =>
    async (request, context) => {
      const { principal, peer } = context;
      const control = { call, model: modelOf(request), principal, peer };
      let answered: Answer;
      try {
        answered = await answer(request, context);
      } catch (thrown) {
        auditControl(log, control, thrown);
        throw thrown;
      }
      auditControl(log, control);
      return answered;
    };
  const traceSetting = audited(
    "TraceSetting",
    backend.traceSetting,
    (request) => request.modelName,
  );
  const logSettings = audited("LogSettings", backend.logSettings);
  return {
    ...backend,
    repositoryModelLoad: audited(
      "RepositoryModelLoad",
      backend.repositoryModelLoad,
      controlledModel,
    ),
    repositoryModelUnload: audited(
      "RepositoryModelUnload",
      backend.repositoryModelUnload,
      controlledModel,
    ),
    systemSharedMemoryRegister: audited(
      "SystemSharedMemoryRegister",
      backend.systemSharedMemoryRegister,
    ),
    systemSharedMemoryUnregister: audited(
      "SystemSharedMemoryUnregister",
      backend.systemSharedMemoryUnregister,
    ),
    cudaSharedMemoryRegister: audited("CudaSharedMemoryRegister", backend.cudaSharedMemoryRegister),
    cudaSharedMemoryUnregister: audited(
      "CudaSharedMemoryUnregister",
      backend.cudaSharedMemoryUnregister,
    ),
    traceSetting: (request, context) =>
      settingPermission(request.settings) === "read"
        ? backend.traceSetting(request, context)
        : traceSetting(request, context),
    logSettings: (request, context) =>
      settingPermission(request.settings) === "read"
        ? backend.logSettings(request, context)
        : logSettings(request, context),
  };
}
