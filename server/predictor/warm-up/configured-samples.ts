import { readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import type {
  ModelConfig,
  ModelWarmup,
  ModelWarmup_Input,
} from "../../../gen/inference/model_config_pb.ts";
import { messageOf } from "../../errors/from-unknown.ts";
import { modelConfigInvalid } from "../../errors/model-errors.ts";
import { splitBytesElements } from "../../tensor/bytes-elements.ts";
import { type Datatype, elementSize } from "../../tensor/datatype.ts";
import { elementCount, shapeMatches, shapeText } from "../../tensor/shape.ts";
import type { Tensor } from "../../tensor/tensor.ts";
import type { DeclaredPort } from "../engines/engine.ts";
import { configDataType } from "../model-config/data-type.ts";
import { isPlainFileName } from "../model-config/plain-file-name.ts";
import { randomContents, zeroContents } from "./sample-contents.ts";

/** A sample of model_warmup. */
export interface ConfiguredSample {
  readonly name: string;
  readonly inputs: readonly Tensor[];
  readonly rows: number;
  /** How often it is run. */
  readonly runs: number;
}

/** What samples are held against. */
export interface WarmUpModel {
  readonly name: string;
  /** Its folder, in which the folder `warmup` lies. */
  readonly folder: string;
  /** With all dimensions. */
  readonly inputs: readonly DeclaredPort[];
  /** Inputs that the server feeds by itself, such as controls of sequences; zeros unless a sample has them. */
  readonly fed: readonly DeclaredPort[];
}

/** Folder of a model in which the files of `input_data_file` lie. */
export const warmUpFolder = "warmup";
/** Contents of one sample at most, in bytes. */
const maxBytes = 256 * 1024 * 1024;
const maxRuns = 10_000;

/**
 * Reads `model_warmup`. As in Triton a sample of batch_size 0 is left out, a file or random data is one row that
 * is repeated for a larger batch, random strings are empty, and of a model without batches each row is a run.
 *
 * @throws TensorwireError `MODEL_CONFIG_INVALID` that names sample and input
 */
export async function readConfiguredSamples(
  model: WarmUpModel,
  config: ModelConfig | undefined,
): Promise<readonly ConfiguredSample[]> {
  const samples: ConfiguredSample[] = [];
  for (const [index, sample] of (config?.modelWarmup ?? []).entries()) {
    if (sample.batchSize === 0) continue;
    const where = `model_warmup ${sample.name === "" ? index + 1 : `"${sample.name}"`}`;
    samples.push(await readSample(model, where, sample, config?.maxBatchSize ?? 0));
  }
  return samples;
}

async function readSample(
  model: WarmUpModel,
  where: string,
  { batchSize, count, inputs: given }: ModelWarmup,
  maxBatchSize: number,
): Promise<ConfiguredSample> {
  const fail = (why: string, cause?: unknown): never => {
    throw modelConfigInvalid(model.name, `has ${where} ${why}`, cause);
  };
  const batched = maxBatchSize > 0;
  if (batched && batchSize > maxBatchSize)
    fail(`with batch_size ${batchSize}, expected at most max_batch_size, which is ${maxBatchSize}`);
  const runs = Math.max(count, 1) * (batched ? 1 : batchSize);
  if (runs > maxRuns) fail(`with ${runs} runs, expected at most ${maxRuns}`);
  const rows = batched ? batchSize : 1;
  const ports = [...model.inputs, ...model.fed];
  const unknown = Object.keys(given).find((input) => !ports.some(({ name }) => name === input));
  if (unknown !== undefined) fail(`with input "${unknown}", which the model does not have`);

  const inputs: Tensor[] = [];
  let bytes = 0;
  for (const port of ports) {
    const isFed = !model.inputs.includes(port);
    const input = given[port.name];
    const tensor = input
      ? await readInput(model.folder, port, input, batched && !isFed ? rows : 0, (why, cause) =>
          fail(`whose input "${port.name}" ${why}`, cause),
        )
      : leftOut(port, isFed, rows, () => fail(`without input "${port.name}"`));
    if (!tensor) continue;
    inputs.push(tensor);
    bytes += elementCount(tensor.shape) * Math.max(elementSize(port.datatype), 1);
    if (bytes > maxBytes) fail(`with more than ${maxBytes} bytes`);
  }
  return { name: where, inputs, rows, runs };
}

/** An input that the sample does not name. */
function leftOut(
  port: DeclaredPort,
  isFed: boolean,
  rows: number,
  fail: () => never,
): Tensor | undefined {
  if (port.optional) return undefined;
  if (!isFed) return fail();
  const shape = (port.shape ?? []).map((size, axis) =>
    size === -1 ? (axis === 0 ? rows : 1) : size,
  );
  return tensorOf(port, shape, zeroContents(port.datatype, elementCount(shape)));
}

/** @param rows - that the data is repeated for; 0 for an input whose dims are all that there is */
async function readInput(
  folder: string,
  port: DeclaredPort,
  { dataType, dims: given, inputDataType }: ModelWarmup_Input,
  rows: number,
  fail: (why: string, cause?: unknown) => never,
): Promise<Tensor> {
  const { datatype } = port;
  if (dataType !== configDataType(datatype))
    fail(`is of another data_type; the model's is ${datatype}`);
  const dims = given.map(Number);
  if (dims.some((size) => size < 0)) fail(`has dims ${shapeText(dims)}, expected sizes`);
  const shape = rows > 0 ? [rows, ...dims] : dims;
  if (port.shape && !shapeMatches(shape, port.shape))
    fail(`has shape ${shapeText(shape)}, the model's is ${shapeText(port.shape)}`);
  const count = elementCount(dims);
  if (!(count * Math.max(elementSize(datatype), 1) <= maxBytes)) fail("is too large");
  let row: Contents;
  switch (inputDataType.case) {
    case "zeroData":
      row = zeroContents(datatype, count);
      break;
    case "randomData":
      row = randomContents(datatype, count);
      break;
    case "inputDataFile":
      row = await readContents(folder, inputDataType.value, datatype, count, fail);
      break;
    case undefined:
      return fail("has none of zero_data, random_data and input_data_file");
  }
  return tensorOf(port, shape, repeated(row, Math.max(rows, 1)));
}

type Contents = Pick<Tensor, "bytes" | "elements">;

function tensorOf(
  { name, datatype }: DeclaredPort,
  shape: readonly number[],
  { bytes, elements }: Contents,
): Tensor {
  return datatype === "BYTES"
    ? { name, datatype, shape, elements: elements ?? [] }
    : { name, datatype, shape, bytes: bytes ?? new Uint8Array() };
}

function repeated({ bytes, elements }: Contents, times: number): Contents {
  if (elements) return { elements: Array.from({ length: times }, () => elements).flat() };
  const all = new Uint8Array((bytes?.byteLength ?? 0) * times);
  for (let row = 0; bytes && row < times; row++) all.set(bytes, row * bytes.byteLength);
  return { bytes: all };
}

async function readContents(
  folder: string,
  filename: string,
  datatype: Datatype,
  count: number,
  fail: (why: string, cause?: unknown) => never,
): Promise<Contents> {
  const named = JSON.stringify(filename);
  if (!filename.split("/").every(isPlainFileName))
    fail(`has input_data_file ${named}, expected a path within the folder ${warmUpFolder}`);
  let file: Uint8Array;
  try {
    const path = join(folder, warmUpFolder, filename);
    const { size } = await stat(path);
    if (size > maxBytes) throw new Error(`it has ${size} bytes`);
    // Of its own memory, so that elements of any width are aligned.
    file = new Uint8Array(await readFile(path));
  } catch (error) {
    return fail(
      `has input_data_file ${named}, which cannot be read from ${warmUpFolder}/: ${messageOf(error)}`,
      error,
    );
  }
  if (datatype === "BYTES") {
    try {
      return { elements: splitBytesElements(filename, file, count) };
    } catch (error) {
      return fail(`has input_data_file ${named}: ${messageOf(error)}`, error);
    }
  }
  const size = count * elementSize(datatype);
  if (file.byteLength < size)
    fail(`has input_data_file ${named} of ${file.byteLength} bytes, expected ${size}`);
  return { bytes: file.subarray(0, size) };
}
