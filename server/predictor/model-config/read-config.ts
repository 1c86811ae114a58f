import { readFile } from "node:fs/promises";
import { fromJsonString } from "@bufbuild/protobuf";
import { fromText } from "@bufbuild/protobuf/txtpb";
import { type ModelConfig, ModelConfigSchema } from "../../../gen/inference/model_config_pb.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";

/** Largest config.pbtxt that is read, in bytes. */
const maxConfigBytes = 4 * 1024 * 1024;

/**
 * Reads a config.pbtxt (protobuf text format of inference.ModelConfig).
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID` with line and column
 */
export async function readConfigFile(model: string, path: string): Promise<ModelConfig> {
  const bytes = await readConfigBytes(model, path);
  if (bytes.byteLength > maxConfigBytes) {
    throw modelConfigInvalid(
      model,
      `has ${bytes.byteLength} bytes, the limit is ${maxConfigBytes}`,
    );
  }
  try {
    return fromText(ModelConfigSchema, bytes.toString("utf8"));
  } catch (error) {
    throw modelConfigInvalid(model, `cannot be parsed: ${messageOf(error)}`, error);
  }
}

async function readConfigBytes(model: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw modelConfigInvalid(model, `cannot be read: ${messageOf(error)}`, error);
  }
}

/**
 * Reads the `config` parameter of RepositoryModelLoad: inference.ModelConfig as JSON, in place of the
 * file.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID`
 */
export function readConfigOverride(model: string, json: string): ModelConfig {
  try {
    return fromJsonString(ModelConfigSchema, json);
  } catch (error) {
    throw modelConfigInvalid(
      model,
      `given with the load cannot be parsed as JSON: ${messageOf(error)}`,
      error,
    );
  }
}
