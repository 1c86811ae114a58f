import type { Principal } from "../access/principal.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import type { Log } from "../observability/log.ts";
import type { Peer } from "../wire/peer.ts";
import type { CallContext } from "./call-context.ts";
import type { InferenceBackend } from "./inference-backend.ts";
import { controlledModel, settingPermission } from "./model-access.ts";

/** What a call of control is about. */
export interface ControlSubject {
  readonly model: string | undefined;
  /** Region of shared memory, `*` for all. */
  readonly region?: string;
  /** Shared memory object of the region. */
  readonly object?: string;
}

/** A call that changes what the server does, and who made it. */
export interface ControlCall extends ControlSubject {
  /** `RepositoryModelLoad`, or a REST route. */
  readonly call: string;
  readonly principal: Principal | undefined;
  readonly peer: Peer;
}

/**
 * Writes the line of the audit log for a call of control: who, what, which model or region, from where, and
 * how it went.
 *
 * @param thrown - why it failed; `undefined` if it did not
 */
export function auditControl(log: Log, control: ControlCall, thrown?: unknown): void {
  const { call, principal, peer, model, region, object } = control;
  const error = thrown === undefined ? undefined : fromUnknown(thrown);
  const fields = {
    audit: "control",
    call,
    model: model ?? null,
    ...(region !== undefined && { region }),
    ...(object !== undefined && { object }),
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
      subjectOf: (request: Request) => ControlSubject = () => ({ model: undefined }),
    ): ((request: Request, context: CallContext) => Promise<Answer>) =>
    async (request, context) => {
      const { principal, peer } = context;
      const control = { ...subjectOf(request), call, principal, peer };
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
  const traceSetting = audited("TraceSetting", backend.traceSetting, (request) => ({
    model: request.modelName,
  }));
  const logSettings = audited("LogSettings", backend.logSettings);
  return {
    ...backend,
    repositoryModelLoad: audited("RepositoryModelLoad", backend.repositoryModelLoad, (request) => ({
      model: controlledModel(request),
    })),
    repositoryModelUnload: audited(
      "RepositoryModelUnload",
      backend.repositoryModelUnload,
      (request) => ({ model: controlledModel(request) }),
    ),
    systemSharedMemoryRegister: audited(
      "SystemSharedMemoryRegister",
      backend.systemSharedMemoryRegister,
      ({ name, key }) => ({ model: undefined, region: name, object: key }),
    ),
    systemSharedMemoryUnregister: audited(
      "SystemSharedMemoryUnregister",
      backend.systemSharedMemoryUnregister,
      ({ name }) => ({ model: undefined, region: name || "*" }),
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
