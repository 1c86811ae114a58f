import { Code } from "@connectrpc/connect";
import type { UniversalServerResponse } from "@connectrpc/connect/protocol";
import type { TensorwireError } from "../../errors/tensorwire-error.ts";
import { jsonResponse } from "./json-response.ts";

/** The error as REST answers it: message, reason, gRPC code and variables in a JSON object. */
export function errorResponse(
  error: TensorwireError,
  header?: HeadersInit,
): UniversalServerResponse {
  const { message, reason, metadata, code, httpStatus } = error;
  return jsonResponse(
    httpStatus,
    JSON.stringify({ error: message, reason, code: codeName(code), metadata }),
    header,
  );
}

/** `InvalidArgument` as gRPC writes it: `INVALID_ARGUMENT`. */
function codeName(code: Code): string {
  return Code[code].replace(/(?<=[a-z])(?=[A-Z])/g, "_").toUpperCase();
}
