import { Code } from "@connectrpc/connect";
import { errorCode } from "../http2/frame.ts";
import type { OutgoingField } from "../http2/hpack/hpack-encoder.ts";
import type { RequestHead } from "../http2/message-head.ts";
import { encodeGrpcMessage } from "./grpc-status.ts";
import type { WireCallError } from "./wire-call-error.ts";

/** Which kind of answer a caller understands. */
export type CallerProtocol = "grpc" | "grpc-web" | "http";

export function callerProtocolOf(head: RequestHead): CallerProtocol {
  const type = head.get("content-type");
  if (type === undefined || !type.startsWith("application/grpc")) return "http";
  return type.startsWith("application/grpc-web") ? "grpc-web" : "grpc";
}

/** A whole answer that tells a caller why there is none. */
export interface FailureAnswer {
  readonly fields: readonly OutgoingField[];
  /** Content, of answers that are not gRPC's. */
  readonly body: Buffer | undefined;
}

/** Answers a call whose server gave nothing. */
export function failureAnswer(
  error: WireCallError,
  protocol: CallerProtocol,
  head: RequestHead,
): FailureAnswer {
  if (protocol !== "http") {
    const fields: OutgoingField[] = [
      [":status", "200"],
      ["content-type", head.get("content-type") ?? "application/grpc"],
      ...failureTrailers(error),
    ];
    return { fields, body: undefined };
  }
  const body = Buffer.from(`${error.message}\n`, "utf8");
  const fields: OutgoingField[] = [
    [":status", `${httpStatusOf(error)}`],
    ["content-type", "text/plain; charset=utf-8"],
    ["content-length", `${body.byteLength}`],
  ];
  return { fields, body: head.method === "HEAD" ? undefined : body };
}

/** Status of gRPC for a call that failed. */
export function failureTrailers({ code, message }: WireCallError): OutgoingField[] {
  return [
    ["grpc-status", `${code}`],
    ["grpc-message", encodeGrpcMessage(message)],
  ];
}

export function httpStatusOf({ kind, code }: WireCallError): number {
  if (code === Code.Unimplemented) return 501;
  switch (kind) {
    case "unavailable":
    case "queue-full":
    case "cancelled":
      return 503;
    case "deadline":
      return 504;
    case "reset":
    case "lost":
    case "protocol":
      return 502;
  }
}

/**
 * Code with which the caller's stream is reset when the server reset its own.
 *
 * @param begun - the answer has begun: the caller must not take the call for one that was not processed
 */
export function resetForCaller(code: number, begun: boolean): number {
  switch (code) {
    case errorCode.cancel:
    case errorCode.enhanceYourCalm:
      return code;
    case errorCode.refusedStream:
      return begun ? errorCode.internalError : code;
    default:
      // Others speak of the connection behind us, or would be taken for the end of a good answer.
      return errorCode.internalError;
  }
}
