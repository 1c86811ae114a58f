import { type ContextKey, createContextKey, createContextValues } from "@connectrpc/connect";
import type {
  UniversalHandlerFn,
  UniversalServerRequest,
  UniversalServerResponse,
} from "@connectrpc/connect/protocol";
import type { AccessControl } from "../access/access-control.ts";
import type { Permission } from "../access/permissions.ts";
import { credentialHeaders, type PresentedCredentials } from "../access/presented-credentials.ts";
import type { Principal } from "../access/principal.ts";
import { fromUnknown } from "../errors/from-unknown.ts";
import { callAborted } from "../errors/model-errors.ts";
import type { Log } from "../observability/log.ts";
import type { FastUnaryMethods } from "../wire/grpc/fast-unary.ts";
import type { HeaderField } from "../wire/http2/hpack/header-field.ts";
import { type Peer, peerKey } from "../wire/peer.ts";
import { type CallNeed, type Need, needOfRequest, needsOfInference } from "./call-permissions.ts";
import { pathOf } from "./connect-host.ts";
import { auditControl } from "./control-audit.ts";
import { refusedRpc } from "./refused-rpc.ts";
import { boundTimeout } from "./request-timeout.ts";
import { errorResponse } from "./rest/rest-error.ts";

/** Key under which the gate puts who calls into the `contextValues` of a request. */
export const principalKey: ContextKey<Principal | undefined> = createContextKey<
  Principal | undefined
>(undefined, { description: "principal" });

/** Settings of {@link createAccessGate}. */
export interface AccessGateOptions {
  readonly access: AccessControl;
  /** What `/metrics` needs. */
  readonly metrics: Need;
  readonly log: Log;
  /** Where calls of control that were refused are told. */
  readonly audit: Log;
}

/**
 * Asks every caller for credentials and the permission that its call needs, before anything of the
 * message is read. Which models the permission holds for is checked where the message is known: by
 * `withModelAccess`.
 */
export interface AccessGate {
  /** For the calls that come by the universal handler. */
  wrap(handler: UniversalHandlerFn): UniversalHandlerFn;
  /** For those that are answered from bytes to bytes. */
  readonly admitFast: NonNullable<FastUnaryMethods["admit"]>;
}

/** Makes the gate. */
export function createAccessGate({ access, metrics, log, audit }: AccessGateOptions): AccessGate {
  const refused = ({ need, call, model }: CallNeed, peer: Peer, thrown: unknown): void => {
    const { reason } = fromUnknown(thrown);
    if (need === "control")
      auditControl(audit, { call, model, principal: undefined, peer }, thrown);
    else log.debug({ call, peer: peer.address, reason }, "a call was refused");
  };
  return {
    wrap: (handler) => async (request) => {
      const called = needOfRequest(request.method, pathOf(request.url), metrics);
      if (called.need === "open") return handler(request);
      const contextValues = request.contextValues ?? createContextValues();
      const peer = contextValues.get(peerKey);
      let principal: Principal;
      try {
        const { header } = request;
        const found = access.admit(permissionOf(called.need), {
          authorization: header.get(credentialHeaders.authorization) ?? undefined,
          apiKey: header.get(credentialHeaders.apiKey) ?? undefined,
          certificateNames: peer.certificateNames ?? [],
        });
        principal = found instanceof Promise ? await whileAwaited(found, request) : found;
      } catch (thrown) {
        refused(called, peer, thrown);
        return refuse(request, thrown);
      }
      contextValues.set(principalKey, principal);
      return handler({ ...request, contextValues });
    },
    admitFast(call, path) {
      // Only what is known to be open is: a path without a need asks for all there is.
      const need = needsOfInference.get(path) ?? "control";
      if (need === "open") return undefined;
      const { peer } = call;
      const failed = (thrown: unknown): never => {
        const name = path.slice(path.lastIndexOf("/") + 1);
        refused({ need, call: name, model: undefined }, peer, thrown);
        throw thrown;
      };
      try {
        const found = access.admit(permissionOf(need), presentedBy(call.fields, peer));
        if (found instanceof Promise) {
          return found.then((principal) => {
            call.principal = principal;
          }, failed);
        }
        call.principal = found;
        return undefined;
      } catch (thrown) {
        return failed(thrown);
      }
    },
  };
}

function permissionOf(need: Exclude<Need, "open">): Permission | undefined {
  return need === "any" ? undefined : need;
}

const noNames: readonly string[] = [];

function presentedBy(fields: readonly HeaderField[], peer: Peer): PresentedCredentials {
  let authorization: string | undefined;
  let apiKey: string | undefined;
  for (const { name, value } of fields) {
    // Fields of one name are joined as Headers would join them, and so are no good credentials.
    if (name === credentialHeaders.authorization)
      authorization = authorization === undefined ? value : `${authorization}, ${value}`;
    else if (name === credentialHeaders.apiKey)
      apiKey = apiKey === undefined ? value : `${apiKey}, ${value}`;
  }
  return { authorization, apiKey, certificateNames: peer.certificateNames ?? noNames };
}

/**
 * Waits for a token to be checked, while there is somebody who waits for the call: Connect minds its deadline
 * and its cancel from when it has the message, and the issuer of a token may take long.
 */
async function whileAwaited(
  found: Promise<Principal>,
  { header, signal }: Pick<UniversalServerRequest, "header" | "signal">,
): Promise<Principal> {
  const ended = Promise.withResolvers<never>();
  const end = (by: "deadline" | "cancelled") => (): void =>
    ended.reject(callAborted(by, "before the token was checked"));
  const timeoutMs = boundTimeout(header, Number.POSITIVE_INFINITY);
  const timer = timeoutMs === undefined ? undefined : setTimeout(end("deadline"), timeoutMs);
  const onAbort = end("cancelled");
  if (signal.aborted) onAbort();
  else signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([found, ended.promise]);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

function refuse(request: UniversalServerRequest, thrown: unknown): UniversalServerResponse {
  const error = fromUnknown(thrown);
  return refusedRpc(request.header, error) ?? errorResponse(error, pathOf(request.url));
}
