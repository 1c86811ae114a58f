import { TensorwireError } from "./tensorwire-error.ts";

/** A call of a model with sequences that does not say which sequence it belongs to. */
export function sequenceIdMissing(model: string): TensorwireError {
  return new TensorwireError(
    "SEQUENCE_ID_MISSING",
    `inference request to model '${model}' must specify a non-zero or non-empty correlation ID: it keeps sequences apart; send the parameter sequence_id (an integer from 1 on, or a string) with every call, and sequence_start with the first`,
    { model },
  );
}

/** A call without start, of a sequence that is not under way. */
export function sequenceNotStarted(
  model: string,
  id: bigint | string,
  idleMs: number,
): TensorwireError {
  return new TensorwireError(
    "SEQUENCE_NOT_STARTED",
    `inference request for sequence ${id} to model '${model}' must specify the START flag on the first request of the sequence: none with this id is under way; it was never started, has ended, was cancelled, or was without a call for more than ${idleMs} ms (max_sequence_idle_microseconds). Start it again with sequence_start`,
    { model, sequenceId: `${id}`, maxIdleMs: `${idleMs}` },
  );
}

/** A call of several rows: a call of a sequence is one row of a batch. */
export function sequenceBatchRefused(model: string, rows: number): TensorwireError {
  return new TensorwireError(
    "BATCH_SIZE_EXCEEDED",
    `inference request to model '${model}' must specify batch-size 1 due to requirements of sequence batcher, got ${rows} rows; send each row as a call of its own sequence`,
    { model, givenRows: `${rows}`, maxBatchSize: "1" },
  );
}

/** A call before this one in the same sequence was cancelled or missed its deadline. */
export function sequenceCancelled(model: string, id: bigint | string): TensorwireError {
  return new TensorwireError(
    "SEQUENCE_CANCELLED",
    `model '${model}': sequence ${id} ended when a call before this one was cancelled or missed its deadline; start it again with sequence_start`,
    { model, sequenceId: `${id}` },
  );
}

/** A sequence waited longer for a slot than one of its calls allows by the parameter `timeout`. */
export function sequenceTimeout(
  model: string,
  id: bigint | string,
  waitedMs: number,
): TensorwireError {
  return new TensorwireError(
    "SEQUENCE_TIMEOUT",
    `model '${model}': timeout of the corresponding sequence has been expired: sequence ${id} waited ${waitedMs.toFixed(1)} ms while other sequences had all slots; start it again later, or give it more time (parameter timeout)`,
    { model, sequenceId: `${id}`, retryAfterMs: "100" },
  );
}

/** What the server or the model knew of a sequence is gone. */
export function sequenceLost(model: string, id: bigint | string): TensorwireError {
  return new TensorwireError(
    "SEQUENCE_LOST",
    `model '${model}': its thread ended, and with it what it knew of sequence ${id}; start it again with sequence_start`,
    { model, sequenceId: `${id}` },
  );
}

/** The states of the sequences of a model would take more memory than they may. */
export function sequenceStatesFull(
  model: string,
  id: bigint | string,
  bytes: number,
  limit: number,
): TensorwireError {
  return new TensorwireError(
    "SEQUENCE_STATES_FULL",
    `model '${model}': with this call the states of its sequences would take ${bytes} bytes, the limit is ${limit}; sequence ${id} has ended. End sequences earlier, or raise the parameter sequence_state_limit_mib of the model's configuration`,
    { model, sequenceId: `${id}`, stateBytes: `${bytes}`, limitBytes: `${limit}` },
  );
}
