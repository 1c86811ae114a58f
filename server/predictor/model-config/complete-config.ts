import { create } from "@bufbuild/protobuf";
import {
  DataType,
  type ModelConfig,
  ModelConfigSchema,
  type ModelInput,
  ModelInputSchema,
  type ModelOutput,
  ModelOutputSchema,
} from "../../../gen/inference/model_config_pb.ts";
import { modelConfigInvalid, modelUnsupported } from "../../errors/model-errors.ts";
import { shapeText } from "../../tensor/shape.ts";
import type { DeclaredPort } from "../engines/engine.ts";
import type { ModelSignature, TensorSpec } from "../signature.ts";
import { configDataType } from "./data-type.ts";

/** A configuration without gaps, and the signature that it and the model file agree on. */
export interface CompleteConfig {
  readonly config: ModelConfig;
  readonly signature: ModelSignature;
}

/** The parts of a model file that a configuration is held against. */
export interface DeclaredModel {
  readonly inputs: readonly DeclaredPort[];
  readonly outputs: readonly DeclaredPort[];
}

/** What serves a model, as its configuration names it. */
export interface ModelKind {
  /** The one platform that the configuration may name, and the one it gets. */
  readonly platform: string;
  readonly backend: string;
  readonly filename: string;
  /** Kinds of scheduling that it takes. */
  readonly scheduling: readonly NonNullable<ModelConfig["schedulingChoice"]["case"]>[];
  readonly decoupled: boolean;
}

/** ONNX models. */
export const onnxKind: ModelKind = {
  platform: "onnxruntime_onnx",
  backend: "onnxruntime",
  filename: "model.onnx",
  scheduling: ["dynamicBatching", "sequenceBatching"],
  decoupled: false,
};

/**
 * Fills a configuration from what the model file declares and checks the one against the other.
 * Without a configuration everything comes from the file. An output that a configuration with
 * outputs leaves out is not served; inputs that it leaves out are added.
 *
 * @param labels - label files already read, by output name
 * @throws TensorwireError `MODEL_CONFIG_INVALID` naming what disagrees, `MODEL_UNSUPPORTED` naming
 * what this server cannot do
 */
export function completeConfig(
  model: string,
  given: ModelConfig | undefined,
  declared: DeclaredModel,
  labels: ReadonlyMap<string, readonly string[]>,
  kind: ModelKind = onnxKind,
): CompleteConfig {
  const config = given ?? create(ModelConfigSchema);
  refuseUnsupported(model, config, kind);
  const { maxBatchSize } = config;
  if (maxBatchSize < 0)
    throw modelConfigInvalid(model, `has max_batch_size ${maxBatchSize}, expected 0 or more`);

  for (const input of config.input) checkPort(model, "input", input, declared.inputs, maxBatchSize);
  for (const output of config.output)
    checkPort(model, "output", output, declared.outputs, maxBatchSize);

  const inputs = declared.inputs.map((port) => {
    const configured = config.input.find((input) => input.name === port.name);
    if (configured?.optional && !port.optional) {
      throw modelConfigInvalid(
        model,
        `calls input "${port.name}" optional, and the model has no default for it`,
      );
    }
    return spec(model, "input", port, configured, maxBatchSize, []);
  });
  const served =
    config.output.length > 0
      ? declared.outputs.filter((port) => config.output.some((output) => output.name === port.name))
      : declared.outputs;
  const outputs = served.map((port) => {
    const configured = config.output.find((output) => output.name === port.name);
    return spec(
      model,
      "output",
      port,
      configured,
      maxBatchSize,
      labels.get(port.name) ?? port.labels,
    );
  });

  config.name = model;
  config.platform ||= kind.platform;
  config.backend ||= kind.backend;
  config.defaultModelFilename ||= kind.filename;
  if (config.versionPolicy?.policyChoice.case === undefined) {
    config.versionPolicy = create(ModelConfigSchema, {
      versionPolicy: { policyChoice: { case: "latest", value: { numVersions: 1 } } },
    }).versionPolicy;
  }
  const batched = maxBatchSize > 0;
  config.input = inputs.map((input) =>
    Object.assign(inputOf(config, input.name), {
      name: input.name,
      dataType: configDataType(input.datatype),
      dims: dimsOf(input, batched),
      optional: input.optional,
    }),
  );
  config.output = outputs.map((output) =>
    Object.assign(outputOf(config, output.name), {
      name: output.name,
      dataType: configDataType(output.datatype),
      dims: dimsOf(output, batched),
    }),
  );
  return { config, signature: { inputs, outputs, maxBatchSize } };
}

const schedulingNames = {
  dynamicBatching: "dynamic_batching",
  sequenceBatching: "sequence_batching",
  ensembleScheduling: "ensemble_scheduling",
} as const;

function refuseUnsupported(model: string, config: ModelConfig, kind: ModelKind): void {
  if (config.name !== "" && config.name !== model) {
    throw modelConfigInvalid(
      model,
      `has name "${config.name}", expected the folder's name or none`,
    );
  }
  for (const name of ["platform", "backend"] as const) {
    const given = config[name];
    if (given !== "" && given !== kind[name]) {
      throw modelUnsupported(
        model,
        `${name} "${given}" is not served; served is ${kind[name] === "" ? "none" : `"${kind[name]}"`}`,
      );
    }
  }
  const scheduling = config.schedulingChoice.case;
  if (scheduling && !kind.scheduling.includes(scheduling)) {
    throw modelUnsupported(model, `${schedulingNames[scheduling]} is not served for such a model`);
  }
  if (config.modelTransactionPolicy?.decoupled && !kind.decoupled) {
    throw modelUnsupported(
      model,
      "decoupled answers (model_transaction_policy) come from models in TypeScript only",
    );
  }
  for (const port of [...config.input, ...config.output]) {
    if (port.reshape) throw modelUnsupported(model, `reshape of "${port.name}" is not served`);
    if (port.isShapeTensor)
      throw modelUnsupported(model, `shape tensor "${port.name}" is not served`);
  }
  if (config.batchInput.length > 0 || config.batchOutput.length > 0) {
    throw modelUnsupported(model, "batch_input and batch_output are not served");
  }
}

function checkPort(
  model: string,
  kind: "input" | "output",
  configured: ModelInput | ModelOutput,
  declared: readonly DeclaredPort[],
  maxBatchSize: number,
): void {
  const where = `${kind} "${configured.name}"`;
  const port = declared.find((candidate) => candidate.name === configured.name);
  if (!port) {
    throw modelConfigInvalid(
      model,
      `names ${where}, the model has ${declared.map(({ name }) => `"${name}"`).join(", ")}`,
    );
  }
  const expected = configDataType(port.datatype);
  if (configured.dataType !== DataType.TYPE_INVALID && configured.dataType !== expected) {
    const name = Object.entries(DataType).find(([, value]) => value === configured.dataType)?.[0];
    throw modelConfigInvalid(
      model,
      `gives ${where} data_type ${name ?? configured.dataType}, the model declares ${port.datatype}`,
    );
  }
  if (configured.dims.length === 0 || port.shape === undefined) return;
  const dims = configured.dims.map(Number);
  const shape = maxBatchSize > 0 ? [-1, ...dims] : dims;
  const fits =
    shape.length === port.shape.length &&
    shape.every((dimension, axis) => port.shape?.[axis] === -1 || port.shape?.[axis] === dimension);
  if (!fits) {
    throw modelConfigInvalid(
      model,
      `gives ${where} dims ${shapeText(dims)}${maxBatchSize > 0 ? " behind the batch dimension" : ""}, the model declares ${shapeText(port.shape)}`,
    );
  }
}

function spec(
  model: string,
  kind: "input" | "output",
  port: DeclaredPort,
  configured: ModelInput | ModelOutput | undefined,
  maxBatchSize: number,
  labels: readonly string[],
): TensorSpec {
  const { name, datatype, optional } = port;
  const batched = maxBatchSize > 0;
  const dims = configured && configured.dims.length > 0 ? configured.dims.map(Number) : undefined;
  const shape = dims ? (batched ? [-1, ...dims] : dims) : port.shape;
  if (!shape) {
    throw modelConfigInvalid(
      model,
      `must give dims of ${kind} "${name}", for which the model declares no rank`,
    );
  }
  if (batched && shape[0] !== -1) {
    throw modelConfigInvalid(
      model,
      `has max_batch_size ${maxBatchSize}, and ${kind} "${name}" is ${shapeText(shape)} in the model, without a free first dimension`,
    );
  }
  return { name, datatype, shape, optional, labels };
}

function inputOf(config: ModelConfig, name: string): ModelInput {
  return config.input.find((input) => input.name === name) ?? create(ModelInputSchema);
}

function outputOf(config: ModelConfig, name: string): ModelOutput {
  return config.output.find((output) => output.name === name) ?? create(ModelOutputSchema);
}

function dimsOf(port: TensorSpec, batched: boolean): bigint[] {
  return (batched ? port.shape.slice(1) : port.shape).map(BigInt);
}
