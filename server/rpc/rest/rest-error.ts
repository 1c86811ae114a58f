import { Code } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import { challengeOf } from "../challenge.ts";
import { jsonResponse } from "./json-response.ts";
import { bodyEncodings } from "./read-body.ts";

/** The error as REST answers it: message, reason, gRPC code and variables in a JSON object. */
export function errorResponse(
  error: TensorwireError,
  header?: HeadersInit,
): UniversalServerResponse {
  const { message, reason, metadata, code, httpStatus } = error;
  const json = JSON.stringify({ error: message, reason, code: codeName(code), metadata });
  const response = jsonResponse(httpStatus, json, header);
  // What a refused content-encoding is to be replaced by (RFC 9110, section 15.5.16).
  if (httpStatus === 415) response.header?.set("accept-encoding", bodyEncodings);
  if (httpStatus === 401) response.header?.set("www-authenticate", challengeOf(error));
  return response;
}

/** `InvalidArgument` as gRPC writes it: `INVALID_ARGUMENT`. */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
