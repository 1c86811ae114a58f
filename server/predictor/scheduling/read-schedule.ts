import type {
  ModelConfig,
  ModelDynamicBatching,
  ModelQueuePolicy,
} from "../../../gen/inference/model_config_pb.ts";
import { ModelQueuePolicy_TimeoutAction } from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import type { BatchPolicy } from "./batch-policy.ts";
import { plainQueue, type QueuePolicies, type QueuePolicy } from "./queue-policy.ts";
import type { Schedule } from "./scheduler.ts";

/** Parameter of a configuration: time in us after which a call counts as one priority level higher. */
const agingParameter = "priority_aging_microseconds";

/** Levels at most: each is a list of its own. */
const mostLevels = 256;

/**
 * Reads max_batch_size, dynamic_batching and the parameter `priority_aging_microseconds`.
 *
 * @param derivedRows - rows of a batch that pay, by measurement; `undefined` runs each call on its own.
 * What the configuration says counts more
 * @throws TensorwireError `MODEL_CONFIG_INVALID` for a preferred size that no batch can have, a level that
 * there is not, or a time that is no number
 */
export function readSchedule(config: ModelConfig, derivedRows: number | undefined): Schedule {
  const { maxBatchSize, schedulingChoice } = config;
  if (schedulingChoice.case !== "dynamicBatching") {
    const batch = derivedRows === undefined ? undefined : plainBatch(maxBatchSize, derivedRows);
    return { batch, queue: plainQueue, preserveOrder: false };
  }
  const dynamic = schedulingChoice.value;
  return {
    batch: derivedRows === undefined ? undefined : readBatch(config, dynamic),
    queue: readQueue(config, dynamic),
    preserveOrder: dynamic.preserveOrdering,
  };
}

function plainBatch(maxBatchSize: number, derivedRows: number): BatchPolicy {
  const maxRows = maxBatchSize > 0 ? Math.min(maxBatchSize, derivedRows) : derivedRows;
  return { maxRows, preferredRows: [], maxDelayMs: 0 };
}

function readBatch(
  { name, maxBatchSize }: ModelConfig,
  { preferredBatchSize, maxQueueDelayMicroseconds }: ModelDynamicBatching,
): BatchPolicy {
  for (const size of preferredBatchSize) {
    if (size < 1 || size > maxBatchSize) {
      throw modelConfigInvalid(
        name,
        `has preferred_batch_size ${size}, expected 1 to max_batch_size, which is ${maxBatchSize}`,
      );
    }
  }
  return {
    maxRows: maxBatchSize,
    preferredRows: [...preferredBatchSize].sort((a, b) => a - b),
    maxDelayMs: Number(maxQueueDelayMicroseconds) / 1000,
  };
}

function readQueue(config: ModelConfig, dynamic: ModelDynamicBatching): QueuePolicies {
  const { name } = config;
  const levels = Math.max(Number(dynamic.priorityLevels), 1);
  if (levels > mostLevels) {
    throw modelConfigInvalid(name, `has priority_levels ${levels}, expected up to ${mostLevels}`);
  }
  const given = Number(dynamic.defaultPriorityLevel);
  if (levels > 1 && (given < 1 || given > levels)) {
    throw modelConfigInvalid(
      name,
      `has default_priority_level ${given}, expected 1 to priority_levels, which is ${levels}`,
    );
  }
  const byLevel = new Map<number, QueuePolicy>();
  for (const [key, policy] of Object.entries(dynamic.priorityQueuePolicy)) {
    const level = Number(key);
    if (level < 1 || level > levels) {
      throw modelConfigInvalid(
        name,
        `has a priority_queue_policy for level ${key}, expected 1 to priority_levels, which is ${levels}`,
      );
    }
    byLevel.set(level, readPolicy(policy));
  }
  return {
    levels,
    defaultLevel: levels > 1 ? given : 1,
    defaultPolicy: dynamic.defaultQueuePolicy
      ? readPolicy(dynamic.defaultQueuePolicy)
      : plainQueue.defaultPolicy,
    byLevel,
    agingMs: readAging(config),
  };
}

function readPolicy(policy: ModelQueuePolicy): QueuePolicy {
  const delays = policy.timeoutAction === ModelQueuePolicy_TimeoutAction.DELAY;
  return {
    maxSize: policy.maxQueueSize,
    timeoutMs: Number(policy.defaultTimeoutMicroseconds) / 1000,
    allowOverride: policy.allowTimeoutOverride,
    onTimeout: delays ? "delay" : "reject",
  };
}

function readAging({ name, parameters }: ModelConfig): number {
  const text = parameters[agingParameter]?.stringValue;
  if (text === undefined) return 0;
  const us = Number(text);
  if (text.trim() === "" || !(us >= 0) || !Number.isFinite(us)) {
    throw modelConfigInvalid(
      name,
      `has parameter ${agingParameter} ${JSON.stringify(text)}, expected microseconds`,
    );
  }
  return us / 1000;
}
