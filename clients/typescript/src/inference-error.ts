import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "../../../gen/google/rpc/error_details_pb.ts";
import { errorDomain, TensorwireError } from "../../../server/errors/tensorwire-error.ts";
import { failureOfConnection } from "./connection-failure.ts";
import { type StatusName, statusName } from "./status.ts";

/**
 * A call that failed, or an input that cannot be sent.
 *
 * `code` is the gRPC status. `reason` says which of its cases, if the server (or this client, for
 * what it refuses before sending) told: for Tensorwire one of the reasons that docs/errors.md lists,
 * such as `MODEL_NOT_FOUND`. `metadata` holds the variables of the message.
 */
export class InferenceError extends Error {
  override readonly name = "InferenceError";
  /** gRPC status, such as `NOT_FOUND`. */
  readonly code: StatusName;
  /** UPPER_SNAKE_CASE; `undefined` from servers that send no google.rpc.ErrorInfo. */
  readonly reason: string | undefined;
  /** Who speaks in `reason`: `tensorwire`, or the domain of another server. */
  readonly domain: string | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  /** How long the server asks to wait before a new try, in ms. */
  readonly retryAfterMs: number | undefined;

  constructor(message: string, fields: InferenceErrorFields) {
    super(message, "cause" in fields ? { cause: fields.cause } : undefined);
    this.code = fields.code;
    this.reason = fields.reason;
    this.domain = fields.domain;
    this.metadata = fields.metadata ?? {};
    this.retryAfterMs = fields.retryAfterMs;
  }
}

/** Fields of an {@link InferenceError} beside its message. */
export interface InferenceErrorFields {
  readonly code: StatusName;
  readonly reason?: string | undefined;
  readonly domain?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>>;
  readonly retryAfterMs?: number | undefined;
  readonly cause?: unknown;
}

/**
 * Converts whatever a call threw, once, where it leaves the client.
 *
 * @param target - address of the server, for messages about the connection
 */
export function inferenceError(thrown: unknown, target?: string): InferenceError {
  if (thrown instanceof InferenceError) return thrown;
  if (thrown instanceof TensorwireError) {
    return new InferenceError(thrown.message, {
      code: statusName(thrown.code),
      reason: thrown.reason,
      domain: errorDomain,
      metadata: thrown.metadata,
      cause: thrown,
    });
  }
  const failure = failureOfConnection(thrown);
  if (failure !== undefined) {
    return new InferenceError(failure.explain(target ?? "the server"), {
      code: "UNAVAILABLE",
      cause: thrown,
    });
  }
  return fromConnectError(ConnectError.from(thrown));
}

function fromConnectError(error: ConnectError): InferenceError {
  const info = error.findDetails(ErrorInfoSchema)[0];
  const delay = error.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return new InferenceError(error.rawMessage, {
    code: statusName(error.code),
    reason: info?.reason ?? localReason(error),
    domain: info?.domain,
    metadata: info?.metadata ?? {},
    retryAfterMs: delay && Number(delay.seconds) * 1000 + delay.nanos / 1e6,
    cause: error,
  });
}

/** Reason of what ends on this side, so that it reads the same wherever a call was given up. */
function localReason(error: ConnectError): string | undefined {
  if (error.code === Code.DeadlineExceeded) return "DEADLINE_EXCEEDED";
  return error.code === Code.Canceled ? "CALL_CANCELLED" : undefined;
}
