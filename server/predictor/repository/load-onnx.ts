import { clone, create } from "@bufbuild/protobuf";
import {
  type ModelConfig,
  ModelConfigSchema,
  ModelDynamicBatchingSchema,
  ModelInstanceGroup_Kind,
  ModelInstanceGroupSchema,
} from "../../../gen/inference/model_config_pb.ts";
import { fromUnknown, messageOf } from "../../errors/from-unknown.ts";
import type { Log } from "../../observability/log.ts";
import { elementCount } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import { EngineExecutor } from "../engine-executor.ts";
import type { DeclaredPort, EngineModel } from "../engines/engine.ts";
import { type CompleteConfig, completeConfig } from "../model-config/complete-config.ts";
import { readAllLabels } from "../model-config/read-labels.ts";
import { type DerivedBatching, deriveBatching } from "../scheduling/derive-batching.ts";
import { readSchedule } from "../scheduling/read-schedule.ts";
import type { Schedule } from "../scheduling/scheduler.ts";
import { statelessEngine } from "../sequences/sequence-engine.ts";
import { SequenceExecutor } from "../sequences/sequence-executor.ts";
import {
  fedPorts,
  readSequences,
  type SequencePlan,
  sequenceBatchingOf,
  showSequences,
  visiblePorts,
} from "../sequences/sequence-plan.ts";
import type { ModelSignature } from "../signature.ts";
import { readConfiguredSamples } from "../warm-up/configured-samples.ts";
import { madeSamples } from "../warm-up/made-samples.ts";
import { warmUpConfigured } from "../warm-up/run-samples.ts";
import type { LoadContext, LoadedParts } from "./load-version.ts";
import { modelFile } from "./model-file.ts";
import type { ModelFolder } from "./scan.ts";

/** The largest power of two that max_batch_size, an int32, can be. */
const mostRows = 2 ** 30;

/** Opens an ONNX model, holds the configuration against it, warms it up, and finds out how it is scheduled. */
export async function loadOnnx(
  folder: ModelFolder,
  version: string,
  given: ModelConfig | undefined,
  context: LoadContext,
): Promise<LoadedParts> {
  const { name } = folder;
  const { log } = context;
  const path = await modelFile(folder, version, given);
  const engine = await context.openOnnx({ model: name, path, config: given });
  try {
    const labels = await readAllLabels(name, folder.path, given);
    const sequences = sequenceBatchingOf(given);
    const plan =
      given && sequences && (await readSequences(name, folder.path, given, sequences, engine));
    const outputs = await warmUp(folder, engine, given, plan ? fedPorts(plan) : [], log);
    const declared = { inputs: engine.inputs, outputs };
    const completed = completeConfig(
      name,
      // Versions of a model complete the same configuration, each with its own file.
      given && clone(ModelConfigSchema, given),
      plan ? visiblePorts(plan, given, declared) : declared,
      labels,
    );
    warnOfIgnored(name, completed.config, log);
    showInstances(completed.config, engine.instances, engine.gpus);
    if (plan) {
      showSequences(completed.config, plan);
      const maxRows = await sequenceRows(name, engine, plan, completed, log);
      return {
        config: completed.config,
        signature: completed.signature,
        executor: new SequenceExecutor(
          name,
          statelessEngine(engine),
          { ...plan, maxRows },
          context.maxQueueSize,
        ),
        repeats: "no",
        readsOptions: true,
      };
    }
    const { schedule, signature } = await scheduleOf(name, engine, given, completed, context);
    return {
      config: completed.config,
      signature,
      executor: new EngineExecutor(name, engine, schedule, context.maxQueueSize),
      repeats: engine.isDeterministic ? "yes" : "unknown",
      readsOptions: completed.config.schedulingChoice.case === "dynamicBatching",
    };
  } catch (error) {
    await engine.release();
    throw error;
  }
}

/**
 * Rows of a run of sequences: as many as the configuration allows, one if rows know of each other.
 */
async function sequenceRows(
  name: string,
  engine: EngineModel,
  { maxRows }: SequencePlan,
  { signature }: CompleteConfig,
  log: Log,
): Promise<number> {
  if (maxRows === 1) return 1;
  const derived = await deriveBatching(engine, portsOf(engine, signature));
  if (derived.kind === "batched" || derived.cause !== "mixes rows") return maxRows;
  log.warn(
    { model: name, why: derived.why },
    "sequences are run one by one: rows are not independent",
  );
  return 1;
}

/** Inputs of a model with the shapes that its configuration gives them. */
function portsOf(engine: EngineModel, { inputs }: ModelSignature): readonly DeclaredPort[] {
  return engine.inputs.map((port) => ({
    ...port,
    shape: inputs.find(({ name }) => name === port.name)?.shape ?? port.shape,
  }));
}

/**
 * Warms the engine up, and gives the outputs with the ranks that the file did not declare. Without model_warmup
 * samples of zeros are made up: a model that fails on those (an index out of range, say) may still serve real
 * inputs, so that is no error.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_LOAD_FAILED` for samples of the configuration
 */
async function warmUp(
  { name, path }: ModelFolder,
  engine: EngineModel,
  config: ModelConfig | undefined,
  fed: readonly DeclaredPort[],
  log: Log,
): Promise<readonly DeclaredPort[]> {
  const maxBatchSize = config?.maxBatchSize ?? 0;
  const inputs = engine.inputs.map((port) => {
    const own = fed.find(({ name }) => name === port.name);
    if (own) return port.shape ? port : own;
    const dims = config?.input.find((input) => input.name === port.name)?.dims.map(Number) ?? [];
    if (dims.length === 0) return port;
    return { ...port, shape: maxBatchSize > 0 ? [-1, ...dims] : dims };
  });
  const isFed = ({ name }: DeclaredPort): boolean => fed.some((port) => port.name === name);
  const configured = await readConfiguredSamples(
    {
      name,
      folder: path,
      inputs: inputs.filter((port) => !isFed(port)),
      fed: inputs.filter(isFed),
    },
    config,
  );
  if (configured.length > 0) {
    const tensors = await warmUpConfigured(name, engine, configured);
    return rankedOutputs(engine, tensors);
  }
  const samples = madeSamples(inputs, maxBatchSize);
  if (samples.length === 0) return engine.outputs;
  try {
    return rankedOutputs(engine, await engine.warmUp(samples));
  } catch (error) {
    log.warn(
      { model: name, reason: fromUnknown(error).reason, why: messageOf(error) },
      "a model failed its warm-up on zeros; it serves without",
    );
    return engine.outputs;
  }
}

/** Outputs with the ranks of those that a run gave, where the file declares none. */
function rankedOutputs(engine: EngineModel, tensors: readonly Tensor[]): readonly DeclaredPort[] {
  return engine.outputs.map((port) => {
    if (port.shape !== undefined) return port;
    const rank = tensors.find((tensor) => tensor.name === port.name)?.shape.length ?? 0;
    return { ...port, shape: new Array<number>(rank).fill(-1) };
  });
}

/**
 * How calls of a version are scheduled. A configuration with max_batch_size 0 means that the model has no
 * batches; where it says nothing, it is tried out, and what was found is written into the configuration
 * and enforced.
 */
async function scheduleOf(
  name: string,
  engine: EngineModel,
  given: ModelConfig | undefined,
  { config, signature }: CompleteConfig,
  { log, maxMessageBytes, batching }: LoadContext,
): Promise<{ readonly schedule: Schedule; readonly signature: ModelSignature }> {
  const asked = config.schedulingChoice.case === "dynamicBatching";
  if (given && config.maxBatchSize === 0 && !batching)
    return { schedule: readSchedule(config, undefined), signature };
  const derived = await deriveBatching(engine, portsOf(engine, signature));
  const paying = rowsOfBatch(name, asked || batching?.maxRows !== undefined, derived, log);
  const rows = paying && (batching?.maxRows ?? paying);
  const schedule = withDelay(readSchedule(config, rows), batching?.maxDelayMs);
  if (rows === undefined || asked) return { schedule, signature };
  const maxBatchSize =
    config.maxBatchSize > 0 ? config.maxBatchSize : rowsOfCall(signature, maxMessageBytes);
  showDerived(config, maxBatchSize, Math.min(rows, maxBatchSize), batching?.maxDelayMs);
  log.debug({ model: name, ...schedule.batch, maxBatchSize }, "calls are batched");
  return { schedule, signature: { ...signature, maxBatchSize } };
}

function withDelay(schedule: Schedule, maxDelayMs = 0): Schedule {
  const { batch } = schedule;
  return batch && maxDelayMs > 0 ? { ...schedule, batch: { ...batch, maxDelayMs } } : schedule;
}

/** Rows of a batch that pay; `undefined` if each call is run on its own. */
function rowsOfBatch(
  name: string,
  asked: boolean,
  derived: DerivedBatching,
  log: Log,
): number | undefined {
  if (derived.kind === "batched") return derived.maxRows;
  const { cause, why } = derived;
  // What was asked for is done, unless it would give wrong answers.
  if (asked && cause !== "mixes rows") return 1;
  if (asked)
    log.warn({ model: name, why }, "dynamic_batching is not done: rows are not independent");
  else log.debug({ model: name, why }, "calls are not batched");
  return undefined;
}

/**
 * Rows that a call may have: the power of two that no message within the limit exceeds, so that what is
 * derived refuses no call that the model could answer. An element takes a byte at least on the wire (a
 * small varint; in JSON a digit).
 */
function rowsOfCall({ inputs }: ModelSignature, maxMessageBytes: number): number {
  let elements = 0;
  for (const { shape } of inputs) {
    elements += elementCount(shape.slice(1).map((size) => Math.max(size, 1)));
  }
  const rows = Math.max(1, maxMessageBytes / Math.max(elements, 1));
  return Math.min(mostRows, 2 ** Math.ceil(Math.log2(rows)));
}

/** Writes into a configuration that calls are batched, though it did not say so. */
function showDerived(
  config: ModelConfig,
  maxBatchSize: number,
  preferred: number,
  maxDelayMs = 0,
): void {
  if (config.maxBatchSize === 0) {
    config.maxBatchSize = maxBatchSize;
    for (const port of [...config.input, ...config.output]) port.dims = port.dims.slice(1);
  }
  const value = create(ModelDynamicBatchingSchema, {
    preferredBatchSize: [preferred],
    maxQueueDelayMicroseconds: BigInt(Math.round(maxDelayMs * 1000)),
  });
  config.schedulingChoice = { case: "dynamicBatching", value };
}

/** Writes into a configuration that says nothing of it how many instances there are. */
export function showInstances(
  config: ModelConfig,
  count: number,
  gpus: readonly number[] = [],
): void {
  if (config.instanceGroup.length > 0) return;
  const { name } = config;
  const kind = gpus.length > 0 ? ModelInstanceGroup_Kind.GPU : ModelInstanceGroup_Kind.CPU;
  config.instanceGroup = [create(ModelInstanceGroupSchema, { name, count, kind, gpus: [...gpus] })];
}

function warnOfIgnored(name: string, config: ModelConfig, log: Log): void {
  const ignored: string[] = [];
  const { optimization } = config;
  if (optimization?.priority) ignored.push("optimization.priority");
  if (optimization?.cuda) ignored.push("optimization.cuda");
  if (optimization?.inputPinnedMemory || optimization?.outputPinnedMemory)
    ignored.push("optimization pinned memory");
  if (optimization?.eagerBatching) ignored.push("optimization.eager_batching");
  if (config.modelRepositoryAgents) ignored.push("model_repository_agents");
  if (ignored.length > 0) {
    log.warn(
      { model: name, ignored },
      "settings of config.pbtxt that this server reads and does not act on",
    );
  }
}
