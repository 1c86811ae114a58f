import { Code } from "@connectrpc/connect";

/**
 * Every reason for which Tensorwire refuses or fails a call, with the gRPC code and the HTTP
 * status that it is answered with. docs/errors.md lists the same reasons; a test holds the two equal.
 */
export const registry = {
  // The request and its tensors
  REQUEST_MALFORMED: { code: Code.InvalidArgument, http: 400 },
  REQUEST_TOO_LARGE: { code: Code.ResourceExhausted, http: 413 },
  PARAMETER_INVALID: { code: Code.InvalidArgument, http: 400 },
  PARAMETER_UNSUPPORTED: { code: Code.InvalidArgument, http: 400 },
  INPUT_MISSING: { code: Code.InvalidArgument, http: 400 },
  INPUT_UNKNOWN: { code: Code.InvalidArgument, http: 400 },
  INPUT_DUPLICATE: { code: Code.InvalidArgument, http: 400 },
  OUTPUT_UNKNOWN: { code: Code.InvalidArgument, http: 400 },
  OUTPUT_DUPLICATE: { code: Code.InvalidArgument, http: 400 },
  CLASSIFICATION_INVALID: { code: Code.InvalidArgument, http: 400 },
  BATCH_SIZE_EXCEEDED: { code: Code.InvalidArgument, http: 400 },
  BATCH_SIZE_MISMATCH: { code: Code.InvalidArgument, http: 400 },
  DATATYPE_UNKNOWN: { code: Code.InvalidArgument, http: 400 },
  DATATYPE_MISMATCH: { code: Code.InvalidArgument, http: 400 },
  DATATYPE_NEEDS_RAW: { code: Code.InvalidArgument, http: 400 },
  SHAPE_INVALID: { code: Code.InvalidArgument, http: 400 },
  SHAPE_MISMATCH: { code: Code.InvalidArgument, http: 400 },
  TENSOR_BYTES_MISMATCH: { code: Code.InvalidArgument, http: 400 },
  TENSOR_ELEMENTS_MISMATCH: { code: Code.InvalidArgument, http: 400 },
  TENSOR_VALUE_INVALID: { code: Code.InvalidArgument, http: 400 },
  RAW_COUNT_MISMATCH: { code: Code.InvalidArgument, http: 400 },
  RAW_AND_CONTENTS: { code: Code.InvalidArgument, http: 400 },
  CONTENTS_FIELD_MISMATCH: { code: Code.InvalidArgument, http: 400 },
  BYTES_ELEMENT_MALFORMED: { code: Code.InvalidArgument, http: 400 },
  SHARED_MEMORY_UNSUPPORTED: { code: Code.Unimplemented, http: 501 },
  SHARED_MEMORY_NAME_INVALID: { code: Code.InvalidArgument, http: 400 },
  SHARED_MEMORY_REGION_EXISTS: { code: Code.AlreadyExists, http: 409 },
  SHARED_MEMORY_REGION_UNKNOWN: { code: Code.NotFound, http: 404 },
  SHARED_MEMORY_RANGE_INVALID: { code: Code.InvalidArgument, http: 400 },
  SHARED_MEMORY_TOO_SMALL: { code: Code.InvalidArgument, http: 400 },
  SHARED_MEMORY_UNAVAILABLE: { code: Code.FailedPrecondition, http: 400 },
  SHARED_MEMORY_LIMIT: { code: Code.ResourceExhausted, http: 429 },
  // Models
  MODEL_NOT_FOUND: { code: Code.NotFound, http: 404 },
  MODEL_NOT_LOADED: { code: Code.NotFound, http: 404 },
  MODEL_VERSION_NOT_FOUND: { code: Code.NotFound, http: 404 },
  MODEL_VERSION_INVALID: { code: Code.InvalidArgument, http: 400 },
  MODEL_NAME_INVALID: { code: Code.InvalidArgument, http: 400 },
  MODEL_NOT_READY: { code: Code.Unavailable, http: 503 },
  MODEL_LOAD_FAILED: { code: Code.Unavailable, http: 503 },
  MODEL_LOAD_TIMEOUT: { code: Code.Unavailable, http: 503 },
  MODEL_MEMORY_EXCEEDED: { code: Code.ResourceExhausted, http: 507 },
  MODEL_CONFIG_INVALID: { code: Code.InvalidArgument, http: 400 },
  MODEL_UNSUPPORTED: { code: Code.Unimplemented, http: 501 },
  DECOUPLED_NEEDS_STREAM: { code: Code.Unimplemented, http: 501 },
  MODEL_NOT_TEXT: { code: Code.InvalidArgument, http: 400 },
  MODEL_INPUT_REFUSED: { code: Code.InvalidArgument, http: 400 },
  MODEL_EXECUTION_FAILED: { code: Code.Internal, http: 500 },
  ANSWER_TOO_LARGE: { code: Code.ResourceExhausted, http: 500 },
  // Sequences
  SEQUENCE_ID_MISSING: { code: Code.InvalidArgument, http: 400 },
  SEQUENCE_NOT_STARTED: { code: Code.InvalidArgument, http: 400 },
  SEQUENCE_CANCELLED: { code: Code.Canceled, http: 499 },
  SEQUENCE_TIMEOUT: { code: Code.Unavailable, http: 503 },
  SEQUENCE_LOST: { code: Code.Aborted, http: 409 },
  SEQUENCE_STATES_FULL: { code: Code.ResourceExhausted, http: 429 },
  // The repository
  REPOSITORY_UNSUPPORTED: { code: Code.Unimplemented, http: 501 },
  REPOSITORY_UNREADABLE: { code: Code.FailedPrecondition, http: 500 },
  CONTROL_MODE_FORBIDS: { code: Code.Unavailable, http: 503 },
  CONTROL_NOT_LOCAL: { code: Code.PermissionDenied, http: 403 },
  // Who calls
  CREDENTIALS_MISSING: { code: Code.Unauthenticated, http: 401 },
  CREDENTIALS_INVALID: { code: Code.Unauthenticated, http: 401 },
  CREDENTIALS_UNVERIFIABLE: { code: Code.Unavailable, http: 503 },
  PERMISSION_MISSING: { code: Code.PermissionDenied, http: 403 },
  MODEL_FORBIDDEN: { code: Code.PermissionDenied, http: 403 },
  // Autoscaling
  TRIGGER_INVALID: { code: Code.InvalidArgument, http: 400 },
  METRIC_UNKNOWN: { code: Code.NotFound, http: 404 },
  METRIC_UNAVAILABLE: { code: Code.Unavailable, http: 503 },
  SCALER_FULL: { code: Code.ResourceExhausted, http: 429 },
  // The server
  QUEUE_FULL: { code: Code.Unavailable, http: 503 },
  QUEUE_TIMEOUT: { code: Code.Unavailable, http: 503 },
  CONNECTION_MEMORY_FULL: { code: Code.ResourceExhausted, http: 429 },
  SERVER_MEMORY_FULL: { code: Code.Unavailable, http: 503 },
  SERVER_DRAINING: { code: Code.Unavailable, http: 503 },
  WORKER_LOST: { code: Code.Unavailable, http: 503 },
  METHOD_UNKNOWN: { code: Code.Unimplemented, http: 501 },
  RPC_UNSUPPORTED: { code: Code.Unimplemented, http: 501 },
  DEADLINE_EXCEEDED: { code: Code.DeadlineExceeded, http: 504 },
  CALL_CANCELLED: { code: Code.Canceled, http: 499 },
  INTERNAL: { code: Code.Internal, http: 500 },
  // The queue-proxy
  PROXY_QUEUE_FULL: { code: Code.ResourceExhausted, http: 503 },
  RATE_LIMITED: { code: Code.ResourceExhausted, http: 429 },
  CALL_SHED: { code: Code.Unavailable, http: 503 },
  PROXY_TIMEOUT: { code: Code.DeadlineExceeded, http: 504 },
  CALL_CLASS_UNKNOWN: { code: Code.NotFound, http: 404 },
  // HTTP
  ROUTE_NOT_FOUND: { code: Code.NotFound, http: 404 },
  METHOD_NOT_ALLOWED: { code: Code.Unimplemented, http: 405 },
  LISTEN_FAILED: { code: Code.Unavailable, http: 500 },
  ORIGIN_FORBIDDEN: { code: Code.PermissionDenied, http: 403 },
  CONTENT_ENCODING_UNSUPPORTED: { code: Code.Unimplemented, http: 415 },
  SERVICE_UNKNOWN: { code: Code.NotFound, http: 404 },
  WATCH_LIMIT: { code: Code.ResourceExhausted, http: 429 },
  // Start-up
  SETTING_INVALID: { code: Code.InvalidArgument, http: 400 },
  // Optimizing models
  OPTIMIZATION_INEXACT: { code: Code.FailedPrecondition, http: 500 },
  OPTIMIZATION_WITHOUT_EFFECT: { code: Code.FailedPrecondition, http: 500 },
  OPTIMIZATION_NOT_WRITTEN: { code: Code.FailedPrecondition, http: 500 },
} as const;

/** A reason of the registry, in UPPER_SNAKE_CASE; travels as google.rpc.ErrorInfo.reason. */
export type Reason = keyof typeof registry;

/** Whether a text is a {@link Reason}. */
export function isReason(text: string | undefined): text is Reason {
  return text !== undefined && Object.hasOwn(registry, text);
}
