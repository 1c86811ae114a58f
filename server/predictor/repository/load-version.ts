import { stat } from "node:fs/promises";
import { join } from "node:path";
import { clone } from "@bufbuild/protobuf";
import { type ModelConfig, ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { fromUnknown, messageOf } from "../../errors/from-unknown.ts";
import { modelLoadFailed, modelUnsupported } from "../../errors/model-errors.ts";
import type { Log } from "../../observability/log.ts";
import type { BatchPolicy } from "../batching/batch-policy.ts";
import { deriveBatching } from "../batching/derive-batching.ts";
import { readBatchPolicy } from "../batching/read-batch-policy.ts";
import type { DeclaredPort, EngineModel } from "../engines/engine.ts";
import { type CompleteConfig, completeConfig } from "../model-config/complete-config.ts";
import { readLabels } from "../model-config/read-labels.ts";
import { type CallObserver, ServedModel } from "../served-model.ts";
import { warmUpSamples } from "../warm-up-samples.ts";
import type { ModelFolder } from "./scan.ts";

/** Opens a model file; the engine's part in loading. */
export type OpenModel = (model: string, path: string) => Promise<EngineModel>;

/** What loading a version needs from its surroundings. */
export interface LoadContext {
  readonly open: OpenModel;
  readonly maxQueueSize: number;
  readonly observer: CallObserver;
  readonly log: Log;
}

/**
 * Loads one version: opens the file, holds the configuration against it, and warms it up.
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED`, `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`
 */
export async function loadVersion(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
  context: LoadContext,
): Promise<ServedModel> {
  const { name } = folder;
  const path = await modelFile(folder, version, config);
  const engine = await context.open(name, path);
  try {
    const labels = new Map<string, string[]>();
    for (const output of config?.output ?? []) {
      if (output.labelFilename !== "") {
        labels.set(output.name, await readLabels(name, folder.path, output.labelFilename));
      }
    }
    const maxBatchSize = config?.maxBatchSize ?? 0;
    const outputs = await warmUp(name, engine, config, maxBatchSize, context.log);
    const completed = completeConfig(
      name,
      // Versions of a model complete the same configuration, each with its own file.
      config && clone(ModelConfigSchema, config),
      { inputs: engine.inputs, outputs },
      labels,
    );
    warnOfIgnored(name, completed.config, context.log);
    const batching = await batchingOf(name, engine, config, completed, context.log);
    return new ServedModel({
      name,
      version,
      config: completed.config,
      signature: completed.signature,
      engine,
      batching,
      maxQueueSize: context.maxQueueSize,
      observer: context.observer,
    });
  } catch (error) {
    await engine.release();
    throw error;
  }
}

async function modelFile(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
): Promise<string> {
  const place = folder.versions.get(version);
  if (place === undefined) throw modelLoadFailed(folder.name, `it has no version ${version}`);
  if ((await stat(place)).isFile()) return place;
  const filename = config?.defaultModelFilename || "model.onnx";
  if (/[/\\\0]/.test(filename) || filename === "..") {
    throw modelUnsupported(
      folder.name,
      `default_model_filename ${JSON.stringify(filename)} is a path; name a file of the version folder`,
    );
  }
  const path = join(place, filename);
  try {
    await stat(path);
  } catch (error) {
    throw modelLoadFailed(folder.name, `version ${version} has no file ${filename}`, error);
  }
  return path;
}

/**
 * Warms the engine up, and gives the outputs with the ranks that the file did not declare. A model
 * that fails on zeros (an index out of range, say) may still serve real inputs, so that is no error.
 */
async function warmUp(
  name: string,
  engine: EngineModel,
  config: ModelConfig | undefined,
  maxBatchSize: number,
  log: Log,
): Promise<readonly DeclaredPort[]> {
  const inputs = engine.inputs.map((port) => {
    const dims = config?.input.find((input) => input.name === port.name)?.dims.map(Number) ?? [];
    if (dims.length === 0) return port;
    return { ...port, shape: maxBatchSize > 0 ? [-1, ...dims] : dims };
  });
  const samples = warmUpSamples(inputs, maxBatchSize);
  if (samples.length === 0) return engine.outputs;
  try {
    const tensors = await engine.warmUp(samples);
    return engine.outputs.map((port) => {
      if (port.shape !== undefined) return port;
      const rank = tensors.find((tensor) => tensor.name === port.name)?.shape.length ?? 0;
      return { ...port, shape: new Array<number>(rank).fill(-1) };
    });
  } catch (error) {
    log.warn(
      { model: name, reason: fromUnknown(error).reason, why: messageOf(error) },
      "a model failed its warm-up on zeros; it serves without",
    );
    return engine.outputs;
  }
}

/**
 * How calls of a version are gathered. A configuration with max_batch_size 0 means that the model has no
 * batches; without any, it is tried out.
 */
async function batchingOf(
  name: string,
  engine: EngineModel,
  given: ModelConfig | undefined,
  { config, signature }: CompleteConfig,
  log: Log,
): Promise<BatchPolicy | undefined> {
  if (given && config.maxBatchSize === 0) return undefined;
  const ports = engine.inputs.map((port) => ({
    ...port,
    shape: signature.inputs.find((input) => input.name === port.name)?.shape ?? port.shape,
  }));
  const derived = await deriveBatching(engine, ports);
  const asked = config.schedulingChoice.case === "dynamicBatching";
  if (derived.kind === "alone") {
    const { cause, why } = derived;
    // What was asked for is done, unless it would give wrong answers.
    if (!asked || cause === "mixes rows") {
      if (asked)
        log.warn({ model: name, why }, "dynamic_batching is not done: rows are not independent");
      else log.debug({ model: name, why }, "calls are not batched");
      return undefined;
    }
  }
  const policy = readBatchPolicy(config, derived.kind === "batched" ? derived.maxRows : 1);
  log.debug({ model: name, ...policy }, "calls are batched");
  return policy;
}

function warnOfIgnored(name: string, config: ModelConfig, log: Log): void {
  const ignored: string[] = [];
  if (config.instanceGroup.length > 0) ignored.push("instance_group");
  if (config.modelWarmup.length > 0) ignored.push("model_warmup");
  if (config.responseCache?.enable) ignored.push("response_cache");
  if (config.optimization) ignored.push("optimization");
  if (config.modelRepositoryAgents) ignored.push("model_repository_agents");
  if (ignored.length > 0) {
    log.warn(
      { model: name, ignored },
      "settings of config.pbtxt that this server reads and does not act on",
    );
  }
}
