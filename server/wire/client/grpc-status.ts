import { Code } from "@connectrpc/connect";
import type { HeaderField } from "../http2/hpack/header-field.ts";
import { fieldValue, type ResponseHead } from "../http2/message-head.ts";

/** Outcome of a gRPC call, as the server said it. */
export interface GrpcStatus {
  /** 0 is OK; others are those of Connect's `Code`. */
  readonly code: number;
  readonly message: string;
}

/**
 * Reads the status of an answer
 * (https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#responses).
 *
 * @param trailers - `undefined` for an answer that ended with its head or its content
 */
export function grpcStatusOf(
  head: ResponseHead,
  trailers: readonly HeaderField[] | undefined,
): GrpcStatus {
  const fields = trailers ?? head.fields;
  const text = fieldValue(fields, "grpc-status");
  if (text !== undefined) {
    const code = /^\d{1,3}$/.test(text) ? Number(text) : Code.Unknown;
    const message = fieldValue(fields, "grpc-message");
    return { code, message: message === undefined ? "" : decodeMessage(message) };
  }
  const type = head.get("content-type") ?? "none";
  return {
    code: codeOfHttpStatus(head.status),
    message: `the answer has HTTP status ${head.status}, content-type ${type} and no grpc-status; expected one of gRPC`,
  };
}

/** https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md */
export function codeOfHttpStatus(status: number): Code {
  switch (status) {
    case 400:
      return Code.Internal;
    case 401:
      return Code.Unauthenticated;
    case 403:
      return Code.PermissionDenied;
    case 404:
      return Code.Unimplemented;
    case 429:
    case 502:
    case 503:
    case 504:
      return Code.Unavailable;
    default:
      return Code.Unknown;
  }
}

/** Reads a `grpc-message`; what is not percent-encoded as it should be stays as it is. */
function decodeMessage(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Writes a `grpc-message`: UTF-8, percent-encoded but for printable ASCII. */
export function encodeGrpcMessage(text: string): string {
  let encoded = "";
  for (const byte of Buffer.from(text, "utf8")) {
    encoded +=
      byte >= 0x20 && byte <= 0x7e && byte !== 0x25
        ? String.fromCharCode(byte)
        : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}
