import type { ModelConfig } from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import type { BatchPolicy } from "./batch-policy.ts";

/**
 * Reads max_batch_size and dynamic_batching of a configuration.
 *
 * @param derivedRows - rows of a batch that pay, by measurement; what the configuration says counts more
 * @throws TensorwireError `MODEL_CONFIG_INVALID` for a preferred size that no batch can have
 */
export function readBatchPolicy(config: ModelConfig, derivedRows: number): BatchPolicy {
  const { maxBatchSize, schedulingChoice } = config;
  if (schedulingChoice.case !== "dynamicBatching") {
    const maxRows = maxBatchSize > 0 ? Math.min(maxBatchSize, derivedRows) : derivedRows;
    return { maxRows, preferredRows: [], maxDelayMs: 0 };
  }
  const { preferredBatchSize, maxQueueDelayMicroseconds } = schedulingChoice.value;
  for (const size of preferredBatchSize) {
    if (size < 1 || size > maxBatchSize) {
      throw modelConfigInvalid(
        config.name,
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
