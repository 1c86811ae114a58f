import { Code } from "@connectrpc/connect";
import { errorCode } from "../http2/frame.ts";

/**
 * What ended a call that got no whole answer.
 *
 * - `unavailable`: no connection, or none that takes calls; nothing was processed
 * - `queue-full`: more calls wait than `maxWaitingCalls`
 * - `deadline`: the time of the call is over
 * - `cancelled`: the caller's signal, or the channel was destroyed
 * - `reset`: the server reset the stream
 * - `lost`: the connection was lost while the server may have been at work
 * - `protocol`: the answer broke HTTP/2, or the protocol within it
 */
export type CallFailureKind =
  | "unavailable"
  | "queue-full"
  | "deadline"
  | "cancelled"
  | "reset"
  | "lost"
  | "protocol";

/** A call that got no whole answer. */
export class WireCallError extends Error {
  override readonly name = "WireCallError";
  readonly kind: CallFailureKind;
  /** Status of gRPC. */
  readonly code: Code;
  /** Error code of HTTP/2 that the stream ended with; `CANCEL` where there was no stream. */
  readonly http2Code: number;

  constructor(
    kind: CallFailureKind,
    code: Code,
    message: string,
    http2Code: number = errorCode.cancel,
    cause?: unknown,
  ) {
    super(message, cause === undefined ? undefined : { cause });
    this.kind = kind;
    this.code = code;
    this.http2Code = http2Code;
  }
}

/**
 * Status of gRPC for a stream that was reset
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors).
 */
export function codeOfReset(http2Code: number): Code {
  switch (http2Code) {
    case errorCode.streamClosed:
      return Code.Unknown;
    case errorCode.refusedStream:
      return Code.Unavailable;
    case errorCode.cancel:
      return Code.Canceled;
    case errorCode.enhanceYourCalm:
      return Code.ResourceExhausted;
    case errorCode.inadequateSecurity:
    case errorCode.http11Required:
      return Code.PermissionDenied;
    default:
      return Code.Internal;
  }
}

const names: readonly string[] = [
  "NO_ERROR",
  "PROTOCOL_ERROR",
  "INTERNAL_ERROR",
  "FLOW_CONTROL_ERROR",
  "SETTINGS_TIMEOUT",
  "STREAM_CLOSED",
  "FRAME_SIZE_ERROR",
  "REFUSED_STREAM",
  "CANCEL",
  "COMPRESSION_ERROR",
  "CONNECT_ERROR",
  "ENHANCE_YOUR_CALM",
  "INADEQUATE_SECURITY",
  "HTTP_1_1_REQUIRED",
];

/** Name of an error code of HTTP/2. */
export function nameOfHttp2Code(code: number): string {
  return names[code] ?? `error code ${code}`;
}
