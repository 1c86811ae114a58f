import { fromUnknown } from "./from-unknown.ts";
import type { Reason } from "./registry.ts";
import { TensorwireError } from "./tensorwire-error.ts";

/** No model of this name in the repository. */
export function modelNotFound(model: string): TensorwireError {
  return new TensorwireError(
    "MODEL_NOT_FOUND",
    `model "${model}" is not in the repository; RepositoryIndex lists those that are`,
    { model },
  );
}

/** The model is in the repository and no version of it is loaded. */
export function modelNotLoaded(model: string): TensorwireError {
  return new TensorwireError(
    "MODEL_NOT_LOADED",
    `model "${model}" is in the repository but not loaded; load it with RepositoryModelLoad`,
    { model },
  );
}

/** The model has no such version, or that version is not loaded. */
export function modelVersionNotFound(
  model: string,
  version: string,
  available: readonly string[],
): TensorwireError {
  return new TensorwireError(
    "MODEL_VERSION_NOT_FOUND",
    `model "${model}" has no version "${version}" loaded; loaded are ${available.join(", ") || "none"}`,
    { model, version, availableVersions: available.join(",") },
  );
}

/** A version that is not a positive integer. */
export function modelVersionInvalid(model: string, version: string): TensorwireError {
  return new TensorwireError(
    "MODEL_VERSION_INVALID",
    `model "${model}": got version "${version}", expected a positive integer, or nothing for the newest`,
    { model, version },
  );
}

/** A model name that is empty or could be a path. */
export function modelNameInvalid(model: string): TensorwireError {
  return new TensorwireError(
    "MODEL_NAME_INVALID",
    `got model name ${JSON.stringify(model)}, expected a name of 1 to 255 characters without "/", "\\" or control characters that does not start with "."`,
    { model },
  );
}

/** The model is on its way in or out. */
export function modelNotReady(model: string, state: string): TensorwireError {
  return new TensorwireError(
    "MODEL_NOT_READY",
    `model "${model}" is ${state}; try again when ModelReady says so`,
    { model, state },
  );
}

/** Loading failed; the cause stands in the message, as it is about files of the operator. */
export function modelLoadFailed(model: string, why: string, cause?: unknown): TensorwireError {
  return new TensorwireError(
    "MODEL_LOAD_FAILED",
    `model "${model}" failed to load: ${why}`,
    { model },
    { cause },
  );
}

/** The configuration contradicts itself, the model, or the format. */
export function modelConfigInvalid(model: string, why: string, cause?: unknown): TensorwireError {
  return new TensorwireError(
    "MODEL_CONFIG_INVALID",
    `model "${model}": config.pbtxt ${why}`,
    { model },
    { cause },
  );
}

/** The same for MLServer's model-settings.json. */
export function modelSettingsInvalid(model: string, why: string, cause?: unknown): TensorwireError {
  return new TensorwireError(
    "MODEL_CONFIG_INVALID",
    `model "${model}": model-settings.json ${why}`,
    { model },
    { cause },
  );
}

/** A model that needs what this server does not have. */
export function modelUnsupported(model: string, why: string): TensorwireError {
  return new TensorwireError("MODEL_UNSUPPORTED", `model "${model}": ${why}`, { model });
}

/** A call of one answer to a model that may give any number. */
export function decoupledNeedsStream(model: string): TensorwireError {
  return new TensorwireError(
    "DECOUPLED_NEEDS_STREAM",
    `model "${model}" may give any number of answers to a call (decoupled): ModelInfer RPC doesn't support models with decoupled transaction policy; use ModelStreamInfer, or generate_stream over REST`,
    { model },
  );
}

/**
 * A model does not fit into the memory that models may take.
 *
 * @param stayingBytes - what the models take that stay, an older version of the same model among them
 */
export function modelMemoryExceeded(
  model: string,
  bytes: number,
  limitBytes: number,
  stayingBytes: number,
): TensorwireError {
  const beside =
    stayingBytes > 0 ? `, of which ${stayingBytes} are taken by models that stay there` : "";
  return new TensorwireError(
    "MODEL_MEMORY_EXCEEDED",
    `model "${model}" needs ${bytes} bytes of memory, and models may take ${limitBytes}${beside}; raise --model-memory-limit, or unload or unpin others`,
    {
      model,
      neededBytes: `${bytes}`,
      limitBytes: `${limitBytes}`,
      stayingBytes: `${stayingBytes}`,
    },
  );
}

/** A call waited too long for its model to be loaded, or a load for memory. */
export function modelLoadTimeout(model: string, waitedMs: number): TensorwireError {
  return new TensorwireError(
    "MODEL_LOAD_TIMEOUT",
    `model "${model}" was not in memory after ${waitedMs} ms: it is still being loaded, or other models are busy in the memory that it needs; try again later, or raise --model-load-timeout`,
    { model, waitedMs: `${waitedMs}`, retryAfterMs: "1000" },
  );
}

/** A step of an ensemble failed; a model that is not there is the server's matter, not the caller's. */
export function ensembleStepFailed(model: string, step: string, thrown: unknown): TensorwireError {
  const { reason, message, metadata, cause } = fromUnknown(thrown);
  const gone: readonly Reason[] = [
    "MODEL_NOT_FOUND",
    "MODEL_NOT_LOADED",
    "MODEL_VERSION_NOT_FOUND",
    "MODEL_LOAD_FAILED",
  ];
  return new TensorwireError(
    gone.includes(reason) ? "MODEL_NOT_READY" : reason,
    `ensemble "${model}": step "${step}" failed: ${message}`,
    { ...metadata, ensemble: model, step },
    { cause },
  );
}

/** The engine refused or failed a run. */
export function modelExecutionFailed(model: string, why: string, cause?: unknown): TensorwireError {
  return new TensorwireError(
    "MODEL_EXECUTION_FAILED",
    `model "${model}" failed on this input: ${why}`,
    { model },
    { cause },
  );
}

/** A model in TypeScript does not take the input, with its own words. */
export function modelInputRefused(model: string, why: string): TensorwireError {
  return new TensorwireError("MODEL_INPUT_REFUSED", `model "${model}": ${why}`, { model });
}

/** The worker thread of a model ended under a call. */
export function workerLost(model: string): TensorwireError {
  return new TensorwireError(
    "WORKER_LOST",
    `the worker thread of model "${model}" ended during the call; it is being started again, so try again`,
    { model, retryAfterMs: "1000" },
  );
}

/**
 * The queue of a model is full.
 *
 * @param level - the priority level whose own bound it is
 */
export function queueFull(model: string, limit: number, level?: number): TensorwireError {
  const where = level === undefined ? "" : ` in priority level ${level}`;
  const raise = level === undefined ? "--max-queue-size" : "its max_queue_size";
  return new TensorwireError(
    "QUEUE_FULL",
    `model "${model}": Exceeds maximum queue size of ${limit} requests${where}; try again later or raise ${raise}`,
    { model, maxQueueSize: `${limit}`, retryAfterMs: "100" },
  );
}

/** The call waited longer than its queue policy, or its own parameter `timeout`, allows. */
export function queueTimeout(model: string, waitedMs: number): TensorwireError {
  return new TensorwireError(
    "QUEUE_TIMEOUT",
    `model "${model}": Request timeout expired after ${waitedMs.toFixed(1)} ms in the queue; try again later, or give it more time (queue policy, parameter timeout)`,
    { model, retryAfterMs: "100" },
  );
}

/** The call was given up before it was answered. */
export function callAborted(reason: "deadline" | "cancelled", where: string): TensorwireError {
  const code: Reason = reason === "deadline" ? "DEADLINE_EXCEEDED" : "CALL_CANCELLED";
  return new TensorwireError(
    code,
    reason === "deadline" ? `the deadline passed ${where}` : `the caller cancelled ${where}`,
    { where },
  );
}
