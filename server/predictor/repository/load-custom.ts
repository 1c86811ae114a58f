import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { clone, create } from "@bufbuild/protobuf";
import {
  type ModelConfig,
  ModelConfigSchema,
  ModelTransactionPolicySchema,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid, modelUnsupported } from "../../errors/model-errors.ts";
import { CustomExecutor } from "../engines/custom/custom-executor.ts";
import { ModelThread, type ModelThreadOptions } from "../engines/custom/model-thread.ts";
import { threadSequences } from "../engines/custom/thread-sequences.ts";
import { measureGrowth } from "../engines/memory-growth.ts";
import { completeConfig, type ModelKind } from "../model-config/complete-config.ts";
import { readInstances } from "../model-config/read-instances.ts";
import { readAllLabels } from "../model-config/read-labels.ts";
import { readSchedule } from "../scheduling/read-schedule.ts";
import { SequenceExecutor } from "../sequences/sequence-executor.ts";
import {
  readSequences,
  sequenceBatchingOf,
  showSequences,
  visiblePorts,
} from "../sequences/sequence-plan.ts";
import { readConfiguredSamples } from "../warm-up/configured-samples.ts";
import { runAsCalls } from "../warm-up/run-samples.ts";
import { showInstances } from "./load-onnx.ts";
import type { LoadContext, LoadedParts } from "./load-version.ts";
import { modelFile, versionPlace } from "./model-file.ts";
import type { ModelFolder } from "./scan.ts";

/** Names that a model in TypeScript or JavaScript has, where the configuration names none. */
const filenames: readonly string[] = ["model.ts", "model.mts", "model.js", "model.mjs"];

/** Parameter of a configuration: memory of JavaScript objects in a thread of the model, in MiB. */
const heapParameter = "heap_limit_mib";
const defaultHeapMb = 2048;

/**
 * Path of the module of a version that is one in TypeScript or JavaScript; `undefined` for others. It is one
 * if its configuration says `backend: "typescript"`, or without a configuration that says otherwise if there
 * is a module and no model.onnx.
 */
export async function customModule(
  folder: ModelFolder,
  version: string,
  config: ModelConfig | undefined,
): Promise<string | undefined> {
  const asked = config?.backend === "typescript";
  if (!asked && (config?.backend || config?.platform)) return undefined;
  if (config?.defaultModelFilename) {
    if (!asked && !isModule(config.defaultModelFilename)) return undefined;
    return modelFile(folder, version, config);
  }
  const place = versionPlace(folder, version);
  if (await isFile(place)) return isModule(place) ? place : undefined;
  if (!asked && (await isFile(join(place, "model.onnx")))) return undefined;
  for (const filename of filenames) {
    const path = join(place, filename);
    if (await isFile(path)) return path;
  }
  if (asked) throw modelConfigInvalid(folder.name, `has none of ${filenames.join(", ")}`);
  return undefined;
}

/**
 * Starts the threads of a model in TypeScript, and finds out what it is.
 *
 * @throws TensorwireError `MODEL_LOAD_FAILED`, `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED`
 */
export async function loadCustom(
  folder: ModelFolder,
  version: string,
  path: string,
  given: ModelConfig | undefined,
  context: LoadContext,
): Promise<LoadedParts> {
  const { name } = folder;
  if (folder.uploaded) {
    throw modelUnsupported(name, "a model that comes with the request must be data, not code");
  }
  const count = readInstances(name, given);
  const options: ModelThreadOptions = {
    name,
    version,
    path,
    folder: dirname(path),
    parameters: parametersOf(given),
    heapLimitMb: readHeapLimit(name, given),
    backend: context.backend,
    log: context.log,
  };
  const { value: threads, bytes: memoryBytes } = await measureGrowth(() =>
    startThreads(count, options),
  );
  try {
    const { model } = threads[0]!;
    const config = given ? clone(ModelConfigSchema, given) : create(ModelConfigSchema);
    config.maxBatchSize ||= model.maxBatchSize;
    if (config.maxBatchSize > model.maxBatchSize) {
      throw modelConfigInvalid(
        name,
        `has max_batch_size ${config.maxBatchSize}, its module says maxBatchSize ${model.maxBatchSize}`,
      );
    }
    if (model.decoupled) {
      config.modelTransactionPolicy = create(ModelTransactionPolicySchema, { decoupled: true });
    } else if (config.modelTransactionPolicy?.decoupled) {
      throw modelConfigInvalid(
        name,
        "is decoupled, and infer of its module is no async * function",
      );
    }
    const labels = await readAllLabels(name, folder.path, given);
    const sequences = sequenceBatchingOf(config);
    if (sequences && model.decoupled && sequences.state.length > 0) {
      throw modelUnsupported(
        name,
        "a state of sequence_batching is not kept for a decoupled model, of whose answers none is the last",
      );
    }
    const plan = sequences && (await readSequences(name, folder.path, config, sequences, model));
    const declared = plan ? visiblePorts(plan, config, model) : model;
    const completed = completeConfig(name, config, declared, labels, kindOf(path));
    showInstances(completed.config, count);
    const samples = await readConfiguredSamples(
      { name, folder: folder.path, inputs: completed.signature.inputs, fed: [] },
      given,
    );
    if (plan) {
      showSequences(completed.config, plan);
      if (samples.length > 0) {
        context.log.warn(
          { model: name },
          "model_warmup of a model in TypeScript with sequences is read and not run",
        );
      }
      return {
        config: completed.config,
        signature: completed.signature,
        executor: new SequenceExecutor(name, threadSequences(threads), plan, context.maxQueueSize),
        repeats: "no",
        readsOptions: true,
      };
    }
    const dynamic = completed.config.schedulingChoice.case === "dynamicBatching";
    const rows =
      dynamic && completed.config.maxBatchSize > 0 ? completed.config.maxBatchSize : undefined;
    const schedule = readSchedule(completed.config, rows);
    const executor = new CustomExecutor(name, threads, schedule, context.maxQueueSize, memoryBytes);
    const outputNames = completed.signature.outputs.map((output) => output.name);
    await runAsCalls(name, executor, outputNames, samples);
    return {
      config: completed.config,
      signature: completed.signature,
      executor,
      repeats: "unknown",
      readsOptions: true,
    };
  } catch (error) {
    await Promise.all(threads.map((thread) => thread.close()));
    throw error;
  }
}

async function startThreads(count: number, options: ModelThreadOptions): Promise<ModelThread[]> {
  // The first one shows whether the module loads at all.
  const first = await ModelThread.start(options);
  const others = await Promise.allSettled(
    Array.from({ length: count - 1 }, () => ModelThread.start(options)),
  );
  const threads = others.flatMap((each) => (each.status === "fulfilled" ? [each.value] : []));
  const failed = others.find((each) => each.status === "rejected");
  if (!failed) return [first, ...threads];
  await Promise.all([first, ...threads].map((thread) => thread.close()));
  throw failed.reason;
}

function kindOf(path: string): ModelKind {
  return {
    platform: "",
    backend: "typescript",
    filename: path.slice(path.lastIndexOf("/") + 1),
    scheduling: ["dynamicBatching", "sequenceBatching"],
    decoupled: true,
  };
}

function parametersOf(config: ModelConfig | undefined): Record<string, string> {
  return Object.fromEntries(
    Object.entries(config?.parameters ?? {}).map(([key, { stringValue }]) => [key, stringValue]),
  );
}

function readHeapLimit(name: string, config: ModelConfig | undefined): number {
  const text = config?.parameters[heapParameter]?.stringValue;
  if (text === undefined) return defaultHeapMb;
  const mb = Number(text);
  if (Number.isInteger(mb) && mb >= 16) return mb;
  throw modelConfigInvalid(
    name,
    `has parameter ${heapParameter} ${JSON.stringify(text)}, expected MiB from 16 on`,
  );
}

function isModule(path: string): boolean {
  return /\.m?[jt]s$/.test(path);
}

async function isFile(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isFile();
  } catch {
    return false;
  }
}
