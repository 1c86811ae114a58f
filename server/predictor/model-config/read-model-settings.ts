import { readFile, stat } from "node:fs/promises";
import { basename, dirname, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import { create } from "@bufbuild/protobuf";
import {
  type ModelConfig,
  ModelConfigSchema,
  type ModelInput,
  ModelInputSchema,
  type ModelOutput,
  ModelOutputSchema,
  ModelParameterSchema,
  ModelVersionPolicySchema,
} from "../../../gen/inference/model_config_pb.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import { modelSettingsInvalid, modelUnsupported } from "../../errors/model-errors.ts";
import { isDatatype } from "../../tensor/datatype.ts";
import type { FreeBatching } from "../scheduling/batch-policy.ts";
import { configDataType } from "./data-type.ts";

/** Name of the file by which MLServer knows a model. */
export const modelSettingsFile = "model-settings.json";

/** A model-settings.json, as far as this server can follow it. */
export interface ModelSettings {
  readonly name: string;
  readonly version: string;
  /** Folder of the settings. */
  readonly folder: string;
  /** The model's file, or the folder that holds `model.onnx`. */
  readonly place: string;
  readonly config: ModelConfig;
  readonly batching: FreeBatching;
}

/** Version of a model whose settings name none. */
const onlyVersion = "1";
const maxBytes = 1024 * 1024;

/** What names the runtime that this server takes the place of. */
const onnxRuntime = /onnx/i;

/** MLServer's versions are any text; those that could be a path or run on forever are none. */
const versionPattern = /^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$/;

/**
 * Reads MLServer's model-settings.json: `name`, `implementation`, `platform`, `inputs`, `outputs`,
 * `max_batch_size`, `max_batch_time`, and of `parameters` `uri`, `version`, `content_type` and `extra`.
 *
 * @param path - of the file
 * @param root - folder that the model's files are not to leave
 * @throws TensorwireError `MODEL_CONFIG_INVALID`, `MODEL_UNSUPPORTED` for an implementation or platform that
 * is not ONNX, or files that are not on this machine
 */
export async function readModelSettings(path: string, root: string): Promise<ModelSettings> {
  const folder = dirname(path);
  const fallback = basename(folder);
  const given = await readObject(fallback, path);
  const name = textOf(fallback, given, "name") || fallback;
  refuseOthers(name, given);
  const parameters = objectOf(name, given, "parameters");
  const version = textOf(name, parameters, "parameters.version") || onlyVersion;
  if (!versionPattern.test(version)) {
    throw modelSettingsInvalid(
      name,
      `has parameters.version ${JSON.stringify(version)}, expected up to 64 letters, digits, ".", "_", "+" and "-"`,
    );
  }
  const uri = textOf(name, parameters, "parameters.uri");
  return {
    name,
    version,
    folder,
    place: placeOf(name, folder, root, uri),
    config: configOf(name, given, parameters),
    batching: batchingOf(name, given),
  };
}

type Fields = Readonly<Record<string, unknown>>;

async function readObject(name: string, path: string): Promise<Fields> {
  let value: unknown;
  try {
    const { size } = await stat(path);
    if (size > maxBytes) throw new Error(`it has ${size} bytes, the limit is ${maxBytes}`);
    value = JSON.parse(await readFile(path, "utf8"));
  } catch (error) {
    throw modelSettingsInvalid(name, `cannot be read: ${messageOf(error)}`, error);
  }
  if (!isObject(value)) throw modelSettingsInvalid(name, "is no JSON object");
  return value;
}

/** Python code of others is not run, so what it would do to a model's tensors is not done. */
function refuseOthers(name: string, given: Fields): void {
  for (const key of ["implementation", "platform"]) {
    const text = textOf(name, given, key);
    if (text === "" || onnxRuntime.test(text)) continue;
    throw modelUnsupported(
      name,
      `${modelSettingsFile} has ${key} ${JSON.stringify(text)}, which this server does not run; it serves ONNX models: export the model, and name "onnx"`,
    );
  }
}

function placeOf(name: string, folder: string, root: string, uri: string): string {
  if (uri === "") return folder;
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(uri) && !uri.startsWith("file://")) {
    throw modelUnsupported(
      name,
      `${modelSettingsFile} has parameters.uri ${JSON.stringify(uri)}, which is not on this machine; put the files into the model's folder`,
    );
  }
  const place = resolve(folder, uri.startsWith("file://") ? filePathOf(name, uri) : uri);
  const way = relative(root, place);
  if (way !== ".." && !way.startsWith(`..${sep}`) && resolve(root, way) === place) return place;
  throw modelSettingsInvalid(
    name,
    `has parameters.uri ${JSON.stringify(uri)}, expected a path within the model repository ${root}`,
  );
}

function filePathOf(name: string, uri: string): string {
  try {
    return fileURLToPath(uri);
  } catch (error) {
    throw modelSettingsInvalid(
      name,
      `has parameters.uri ${JSON.stringify(uri)}, which is no path`,
      error,
    );
  }
}

function configOf(name: string, given: Fields, parameters: Fields): ModelConfig {
  const values: Record<string, unknown> = { ...objectOf(name, parameters, "parameters.extra") };
  const contentType = textOf(name, parameters, "parameters.content_type");
  if (contentType !== "") values.content_type = contentType;
  return create(ModelConfigSchema, {
    input: tensorsOf(name, given, "inputs").map(
      (fields): ModelInput => create(ModelInputSchema, fields),
    ),
    output: tensorsOf(name, given, "outputs").map(
      (fields): ModelOutput => create(ModelOutputSchema, fields),
    ),
    // Each version has settings of its own, and all that there are are served.
    versionPolicy: create(ModelVersionPolicySchema, { policyChoice: { case: "all", value: {} } }),
    parameters: Object.fromEntries(
      Object.entries(values).map(([key, value]) => {
        const stringValue = typeof value === "string" ? value : JSON.stringify(value);
        return [key, create(ModelParameterSchema, { stringValue })];
      }),
    ),
  });
}

interface TensorFields {
  readonly name: string;
  readonly dataType: ModelInput["dataType"];
  readonly dims: bigint[];
}

function tensorsOf(model: string, given: Fields, key: "inputs" | "outputs"): TensorFields[] {
  const list = given[key] ?? [];
  if (!Array.isArray(list)) throw modelSettingsInvalid(model, `has ${key} that are no list`);
  return list.map((tensor: unknown, index) => {
    const where = `${key}[${index}]`;
    if (!isObject(tensor)) throw modelSettingsInvalid(model, `has ${where} that is no object`);
    const name = textOf(model, tensor, `${where}.name`);
    const datatype = textOf(model, tensor, `${where}.datatype`);
    if (!isDatatype(datatype)) {
      throw modelSettingsInvalid(
        model,
        `has ${where}.datatype ${JSON.stringify(datatype)}, expected one of the protocol's such as FP32`,
      );
    }
    const { shape } = tensor;
    if (!Array.isArray(shape) || !shape.every((size) => Number.isSafeInteger(size) && size >= -1)) {
      throw modelSettingsInvalid(model, `has ${where}.shape that is no list of sizes, -1 for any`);
    }
    return { name, dataType: configDataType(datatype), dims: shape.map(BigInt) };
  });
}

/** Adaptive batching is on if both bounds are; without it calls are gathered as without settings. */
function batchingOf(name: string, given: Fields): FreeBatching {
  const rows = numberOf(name, given, "max_batch_size");
  const seconds = numberOf(name, given, "max_batch_time");
  if (!Number.isInteger(rows))
    throw modelSettingsInvalid(name, `has max_batch_size ${rows}, expected an integer`);
  return rows > 1 && seconds > 0 ? { maxRows: rows, maxDelayMs: seconds * 1000 } : {};
}

function isObject(value: unknown): value is Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** @param path - how the file calls the field; its last part is the key */
function fieldOf(fields: Fields, path: string): unknown {
  return fields[path.slice(path.lastIndexOf(".") + 1)] ?? undefined;
}

function textOf(model: string, fields: Fields, path: string): string {
  const value = fieldOf(fields, path) ?? "";
  if (typeof value === "string") return value;
  throw modelSettingsInvalid(model, `has ${path} ${JSON.stringify(value)}, expected a text`);
}

function numberOf(model: string, fields: Fields, path: string): number {
  const value = fieldOf(fields, path) ?? 0;
  if (typeof value === "number" && value >= 0 && Number.isFinite(value)) return value;
  throw modelSettingsInvalid(
    model,
    `has ${path} ${JSON.stringify(value)}, expected a number from 0 on`,
  );
}

function objectOf(model: string, fields: Fields, path: string): Fields {
  const value = fieldOf(fields, path) ?? {};
  if (isObject(value)) return value;
  throw modelSettingsInvalid(model, `has ${path} ${JSON.stringify(value)}, expected an object`);
}
