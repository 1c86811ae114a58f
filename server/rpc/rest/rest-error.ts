import { Code } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import { challengeOf } from "../challenge.ts";
import { jsonResponse } from "./json-response.ts";
import { isOpenaiPath, openaiErrorJson } from "./openai/openai-error.ts";
import { bodyEncodings } from "./read-body.ts";

/** The error as REST answers it: message, reason, gRPC code and variables in a JSON object. */
export function errorJson({ message, reason, metadata, code }: TensorwireError): string {
  return JSON.stringify({ error: message, reason, code: codeName(code), metadata });
}

/**
 * Answers a request with an error, in the form that its callers read.
 *
 * @param path - of the request; those of OpenAI's API have errors of another form
 */
export function errorResponse(
  error: TensorwireError,
  path: string,
  header?: HeadersInit,
): UniversalServerResponse {
  const { httpStatus, metadata } = error;
  const json = isOpenaiPath(path) ? openaiErrorJson(error) : errorJson(error);
  const response = jsonResponse(httpStatus, json, header);
  if (httpStatus === 503 && metadata.retryAfterMs !== undefined) {
    // Whole seconds, by RFC 9110, section 10.2.3; OpenAI's clients also read their own header.
    const seconds = Math.ceil(Number(metadata.retryAfterMs) / 1000);
    response.header?.set("retry-after", `${seconds}`);
    response.header?.set("retry-after-ms", metadata.retryAfterMs);
  }
  // What a refused content-encoding is to be replaced by (RFC 9110, section 15.5.16).
  if (httpStatus === 415) response.header?.set("accept-encoding", bodyEncodings);
  if (httpStatus === 401) response.header?.set("www-authenticate", challengeOf(error));
  return response;
}

/** `InvalidArgument` as gRPC writes it: `INVALID_ARGUMENT`. */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
