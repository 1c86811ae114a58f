import { create } from "@bufbuild/protobuf";
import {
  type InferBatchStatistics,
  InferBatchStatisticsSchema,
  type MemoryUsage,
  MemoryUsageSchema,
  type ModelStatistics,
  type RepositoryIndexResponse_ModelIndex,
  type StatisticDuration,
  StatisticDurationSchema,
} from "../../gen/inference/grpc_service_pb.ts";
import { compareVersions } from "../predictor/repository/model-name.ts";

/** Statistics of the same model versions in several workers, added up; by name and version. */
export function sumStatistics(all: readonly ModelStatistics[]): ModelStatistics[] {
  const sums = new Map<string, ModelStatistics>();
  for (const given of all) {
    const key = `${given.name}/${given.version}`;
    const sum = sums.get(key);
    if (sum) add(sum, given);
    else sums.set(key, given);
  }
  return [...sums.values()].sort(byNameAndVersion);
}

function add(sum: ModelStatistics, given: ModelStatistics): void {
  if (given.lastInference > sum.lastInference) sum.lastInference = given.lastInference;
  sum.inferenceCount += given.inferenceCount;
  sum.executionCount += given.executionCount;
  const parts = ["success", "fail", "queue", "computeInput", "computeInfer", "computeOutput"];
  for (const part of [...parts, "cacheHit", "cacheMiss"] as DurationPart[]) {
    const total = addDuration(sum.inferenceStats?.[part], given.inferenceStats?.[part]);
    if (sum.inferenceStats && total) sum.inferenceStats[part] = total;
  }
  sum.memoryUsage = sumMemory([...sum.memoryUsage, ...given.memoryUsage]);
  sum.batchStats = sumBatches([...sum.batchStats, ...given.batchStats]);
}

type DurationPart = Exclude<keyof NonNullable<ModelStatistics["inferenceStats"]>, `$${string}`>;

/** Each worker has the model in its own memory. */
function sumMemory(all: readonly MemoryUsage[]): MemoryUsage[] {
  const sums = new Map<string, MemoryUsage>();
  for (const given of all) {
    const key = `${given.type}/${given.id}`;
    const byteSize = (sums.get(key)?.byteSize ?? 0n) + given.byteSize;
    sums.set(key, create(MemoryUsageSchema, { type: given.type, id: given.id, byteSize }));
  }
  return [...sums.values()];
}

function sumBatches(all: readonly InferBatchStatistics[]): InferBatchStatistics[] {
  const sums = new Map<bigint, InferBatchStatistics>();
  for (const given of all) {
    const sum = sums.get(given.batchSize);
    sums.set(
      given.batchSize,
      sum === undefined
        ? given
        : create(InferBatchStatisticsSchema, {
            batchSize: given.batchSize,
            computeInput: addDuration(sum.computeInput, given.computeInput),
            computeInfer: addDuration(sum.computeInfer, given.computeInfer),
            computeOutput: addDuration(sum.computeOutput, given.computeOutput),
          }),
    );
  }
  return [...sums.values()].sort((a, b) => Number(a.batchSize - b.batchSize));
}

function addDuration(
  a: StatisticDuration | undefined,
  b: StatisticDuration | undefined,
): StatisticDuration | undefined {
  if (!a || !b) return a ?? b;
  return create(StatisticDurationSchema, { count: a.count + b.count, ns: a.ns + b.ns });
}

/**
 * The index of the whole: a model version is READY if it is so in every worker; otherwise the row is
 * that of the first worker where it is not.
 */
export function mergeIndexes(
  all: readonly (readonly RepositoryIndexResponse_ModelIndex[])[],
): RepositoryIndexResponse_ModelIndex[] {
  const rows = new Map<string, RepositoryIndexResponse_ModelIndex>();
  for (const models of all) {
    for (const row of models) {
      const key = `${row.name}/${row.version}`;
      const before = rows.get(key);
      if (!before) rows.set(key, row);
      else if (before.state === "READY" && row.state !== "READY") {
        const reason = row.reason === "" ? "" : `: ${row.reason}`;
        rows.set(key, { ...row, reason: `not so in all workers${reason}` });
      }
    }
  }
  return [...rows.values()].sort(byNameAndVersion);
}

function byNameAndVersion(
  a: { readonly name: string; readonly version: string },
  b: { readonly name: string; readonly version: string },
): number {
  if (a.name !== b.name) return a.name < b.name ? -1 : 1;
  return compareVersions(a.version, b.version);
}
