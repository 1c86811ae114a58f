import type { Code } from "@connectrpc/connect";

/** Names of the gRPC status codes, at the index of their number. */
const names = [
  "OK",
  "CANCELLED",
  "UNKNOWN",
  "INVALID_ARGUMENT",
  "DEADLINE_EXCEEDED",
  "NOT_FOUND",
  "ALREADY_EXISTS",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
  "INTERNAL",
  "UNAVAILABLE",
  "DATA_LOSS",
  "UNAUTHENTICATED",
] as const;

/** Name of a gRPC status code that tells of a failure. */
export type StatusName = Exclude<(typeof names)[number], "OK">;

/** Name of a status code, as gRPC writes it. */
export function statusName(code: Code): StatusName {
  // Connect's codes are gRPC's without OK.
  return names[code] as StatusName;
}
