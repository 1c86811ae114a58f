import { TensorwireError } from "../errors/tensorwire-error.ts";
import type { CallContext } from "../rpc/call-context.ts";

/**
 * When models are loaded and unloaded.
 *
 * - `default`: all at start; load and unload calls are accepted.
 * - `none`: all at start; load and unload calls are refused.
 * - `poll`: all at start, then what changes on disk; load and unload calls are refused.
 * - `explicit`: those named at start; load and unload calls are accepted.
 */
export type ModelControlMode = "default" | "none" | "poll" | "explicit";

/** Who may load and unload models, change settings and share memory where nobody is asked for credentials. */
export interface ControlPolicy {
  readonly mode: ModelControlMode;
  /** Accept control calls from other machines too. */
  readonly allowRemote: boolean;
}

/**
 * Refuses a call that loads or unloads models if the mode forbids it, or {@link checkNearness} does.
 *
 * @throws TensorwireError `CONTROL_MODE_FORBIDS`, `CONTROL_NOT_LOCAL`
 */
export function checkControl(policy: ControlPolicy, context: CallContext, what: string): void {
  if (policy.mode === "none" || policy.mode === "poll") {
    throw new TensorwireError(
      "CONTROL_MODE_FORBIDS",
      `${what} is not accepted in model control mode "${policy.mode}"; start the server with --model-control-mode explicit`,
      { mode: policy.mode },
    );
  }
  checkNearness(policy, context, what);
}

/**
 * Refuses a control call that comes from another machine without credentials: those were found to allow
 * control before the call came here.
 *
 * @throws TensorwireError `CONTROL_NOT_LOCAL`
 */
export function checkNearness(
  policy: Pick<ControlPolicy, "allowRemote">,
  context: CallContext,
  what: string,
): void {
  if (context.principal?.permissions.has("control")) return;
  if (!policy.allowRemote && !context.peer.local) {
    throw new TensorwireError(
      "CONTROL_NOT_LOCAL",
      `${what} is accepted from this machine only; call from loopback or the unix socket, with credentials (--api-keys), or start the server with --allow-remote-control`,
      {},
    );
  }
}
