import type { TensorwireError } from "../../../errors/tensorwire-error.ts";

/** Where OpenAI's API is, as in KServe: `/v1` is KServe's own. */
export const openaiPrefix = "/openai/";

/** Whether callers of a path read errors in OpenAI's form. */
export function isOpenaiPath(path: string): boolean {
  return path.startsWith(openaiPrefix);
}

/** The error as OpenAI's clients read it; `code` is our reason in lower case, as theirs are. */
export function openaiErrorJson({
  message,
  reason,
  metadata,
  httpStatus,
}: TensorwireError): string {
  const type = errorType(httpStatus);
  const param = metadata.parameter ?? null;
  return JSON.stringify({ error: { message, type, param, code: reason.toLowerCase() } });
}

function errorType(httpStatus: number): string {
  if (httpStatus >= 500) return "server_error";
  if (httpStatus === 401) return "authentication_error";
  if (httpStatus === 403) return "permission_error";
  return httpStatus === 429 ? "rate_limit_error" : "invalid_request_error";
}
